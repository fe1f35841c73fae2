"""Reports in the form of Vivado's, written for the tests."""

__all__ = ["HIERARCHY", "MET", "MISSED", "POWER", "TIMING", "UTILIZATION", "header"]


def header(command, state="Routed", version="2023.1"):
    return (
        "Copyright someone.\n---------\n"
        f"| Tool Version : Vivado v.{version} (lin64) Build 1 Mon\n"
        f"| Command      : {command} -file out.rpt\n"
        f"| Design State : {state}\n---------\n\n"
    )


UTILIZATION = """Utilization Design Information

Table of Contents
-----------------
1. CLB Logic
1.1 Summary of Registers by Type
3. BLOCKRAM
4. ARITHMETIC
10. Black Boxes

1. CLB Logic
------------

+---------------+-------+-------+-----------+-------+
|   Site Type   |  Used | Fixed | Available | Util% |
+---------------+-------+-------+-----------+-------+
| CLB LUTs*     | 21439 |     0 |    274080 |  7.82 |
|   LUT as Logic| 21000 |     0 |    274080 |  7.66 |
| CLB Registers | 30073 |     0 |    548160 | <0.01 |
+---------------+-------+-------+-----------+-------+
* Warning! The final count is usually lower.


1.1 Summary of Registers by Type
--------------------------------

+-------+--------------+
| Total | Clock Enable |
+-------+--------------+
| 30073 |          Yes |
+-------+--------------+


3. BLOCKRAM
-----------

+----------------+------+-------+------------+-----------+-------+
|   Site Type    | Used | Fixed | Prohibited | Available | Util% |
+----------------+------+-------+------------+-----------+-------+
| Block RAM Tile | 20.5 |     0 |          0 |       912 |  2.25 |
+----------------+------+-------+------------+-----------+-------+


4. ARITHMETIC
-------------

+-----------+------+-------+------------+-----------+-------+
| Site Type | Used | Fixed | Prohibited | Available | Util% |
+-----------+------+-------+------------+-----------+-------+
| DSPs      |   32 |     0 |          0 |      2520 |  1.27 |
+-----------+------+-------+------------+-----------+-------+


10. Black Boxes
---------------

+----------+------+
| Ref Name | Used |
+----------+------+


"""

HIERARCHY = """Utilization Design Information

Table of Contents
-----------------
1. Utilization by Hierarchy

1. Utilization by Hierarchy
---------------------------

+----------------------+---------------------+------------+------+--------+--------+------------+
|       Instance       |        Module       | Total LUTs |  FFs | RAMB36 | RAMB18 | DSP Blocks |
+----------------------+---------------------+------------+------+--------+--------+------------+
| system_wrapper       |               (top) |      21439 | 5000 |     20 |      1 |         32 |
|   (system_wrapper)   |               (top) |          1 |    0 |      0 |      0 |          0 |
|   accelerator        |               nbqnn |      21000 | 4000 |     20 |      1 |         32 |
|     core             |        nbqnn_core_x |      20000 | 3500 |     20 |      1 |         32 |
|       compute        |       nbqnn_compute |      15000 | 3000 |      0 |      0 |         32 |
|         array        | nbqnn_pe_array_16x16x2 |      10000 | 2000 |      0 |      0 |          0 |
|           (array)    | nbqnn_pe_array_16x16x2 |        100 |  100 |      0 |      0 |          0 |
|           pe_0       |      nbqnn_pe_array_pe |       9900 | 1900 |      0 |      0 |          0 |
|         drain        |         nbqnn_drain |       2000 |  500 |      0 |      0 |         32 |
|       weight_memory  |          nbqnn_wide |         10 |   10 |     20 |      1 |          0 |
+----------------------+---------------------+------------+------+--------+--------+------------+
"""

TIMING = """Timing Summary Report

------------------------------------------------------------------------------------------------
| Design Timing Summary
| ---------------------
------------------------------------------------------------------------------------------------

    WNS(ns)      TNS(ns)  TNS Failing Endpoints  TNS Total Endpoints      WHS(ns)      THS(ns)
    -------      -------  ---------------------  -------------------      -------      -------
     {wns}        0.000                      0                  973        0.045        0.000


{verdict}


------------------------------------------------------------------------------------------------
| Clock Summary
| -------------
------------------------------------------------------------------------------------------------

Clock      Waveform(ns)         Period(ns)      Frequency(MHz)
-----      ------------         ----------      --------------
slow_clk   {{0.000 5.000}}        10.000          100.000
clk_pl_0   {{0.000 2.000}}        4.000           250.000


------------------------------------------------------------------------------------------------
| Intra Clock Table
| -----------------
"""
MET = TIMING.format(wns=0.25, verdict="All user specified timing constraints are met.")
MISSED = TIMING.format(wns=-1.0, verdict="Timing constraints are not met.")

POWER = """Power Report

Table of Contents
-----------------
1. Summary
1.1 On-Chip Components

1. Summary
----------

+--------------------------+----------+
| Total On-Chip Power (W)  | 3.156    |
| Dynamic (W)              | 2.483    |
| Device Static (W)        | <0.673   |
| Confidence Level         | High     |
| Simulation Activity File | run.saif |
+--------------------------+----------+


1.1 On-Chip Components
----------------------

+---------+-----------+
| On-Chip | Power (W) |
+---------+-----------+
| Clocks  |    <0.001 |
+---------+-----------+
"""
