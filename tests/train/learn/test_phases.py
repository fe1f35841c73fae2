"""The phases of a training."""

from dataclasses import replace

import pytest

from nbqnn_train.learn.phases import Phase, Schedule

SCHEDULE = Schedule(steps=100, warmup=0.3, freeze=0.25, settle=0.05, blend_power=3)


def test_phases():
    phases = [SCHEDULE.phase(step) for step in range(100)]
    real = Phase(blend=0.0, activations=False, frozen=False, refresh=False, calibrate=False)
    assert phases[:30] == [real] * 30
    assert all(phase.activations for phase in phases[30:])
    assert [phase.frozen for phase in phases] == [False] * 75 + [True] * 25
    blends = [phase.blend for phase in phases[30:]]
    assert blends == sorted(blends)
    assert 0 < blends[0] < 0.1
    assert [blend == 1 for blend in blends] == [False] * 65 + [True] * 5


def test_lambda_rises_as_a_power():
    schedule = Schedule(steps=9, warmup=0.0, freeze=0.2, settle=0.2, blend_power=2)
    blends = [schedule.phase(step).blend for step in range(9)]
    assert blends == pytest.approx([1 - (k / 8) ** 2 for k in range(7, 0, -1)] + [1, 1])


def test_exponents_are_chosen_in_the_first_tenth_of_the_quantized_steps():
    phases = [replace(SCHEDULE, steps=1000).phase(step) for step in range(1000)]
    chosen = [step for step, phase in enumerate(phases) if phase.refresh]
    assert chosen == [300, 316, 332, 348, 364]
    assert [step for step, phase in enumerate(phases) if phase.calibrate] == [300, 371]


def test_formats_stay_once_batch_norm_is_folded():
    schedule = Schedule(steps=20, warmup=0.0, freeze=0.95, settle=0.2, blend_power=3)
    phases = [schedule.phase(step) for step in range(20)]
    assert [phase.calibrate for phase in phases] == [True] + [False] * 19


@pytest.mark.parametrize("steps", [1, 2, 3, 7])
def test_the_last_step_of_the_shortest_trainings_is_exported_as_it_is(steps):
    last = replace(SCHEDULE, steps=steps).phase(steps - 1)
    assert last == Phase(
        blend=1.0, activations=True, frozen=True, refresh=False, calibrate=steps == 1
    )


def test_without_warm_up_the_first_step_is_quantized():
    schedule = Schedule(steps=10, warmup=0.0, freeze=0.2, settle=0.1, blend_power=2)
    assert schedule.phase(0).activations
    assert schedule.phase(0).blend > 0


def test_what_was_rounded_keeps_exponents_formats_and_means():
    schedule = Schedule(20, warmup=0.0, freeze=0.1, settle=0.1, blend_power=1, rounded=True)
    phases = [schedule.phase(step) for step in range(20)]
    assert not any(phase.refresh or phase.calibrate for phase in phases)
    assert all(phase.frozen and phase.activations for phase in phases)
    assert not any(schedule.estimates_means(step) for step in range(21))
    blends = [phase.blend for phase in phases]
    assert blends[:18] == pytest.approx([0.5 + 0.5 * (k / 19) for k in range(1, 19)])
    assert blends[18:] == [1, 1]


def test_means_are_estimated_when_batch_norm_is_frozen_and_at_the_end():
    assert [s for s in range(101) if SCHEDULE.estimates_means(s)] == [75, 100]


def test_learning_rate_rises_and_falls():
    factors = [SCHEDULE.learning_rate(step) for step in range(101)]
    assert factors[:5] == sorted(factors[:5])
    assert max(factors) == factors[5] == 1
    assert factors[5:] == sorted(factors[5:], reverse=True)
    assert factors[-1] == pytest.approx(0)


def test_learning_rate_falls_linearly_from_where_its_rise_ends():
    schedule = replace(SCHEDULE, rise=0.2, fall="linear")
    factors = [schedule.learning_rate(step) for step in range(101)]
    assert factors[:21] == pytest.approx([(step + 1) / 21 for step in range(20)] + [1])
    assert factors[20:] == pytest.approx([left / 80 for left in range(80, -1, -1)])
    still = [schedule.weight_learning_rate(step) for step in range(101)]
    assert still[20:] == pytest.approx([left / 75 for left in range(75, -1, -1)] + [0] * 5)


def test_learning_rate_that_rises_longer_than_weights_learn():
    schedule = replace(SCHEDULE, settle=0.5, rise=0.9)
    factors = [schedule.weight_learning_rate(step) for step in range(100)]
    assert factors == pytest.approx([(step + 1) / 91 for step in range(50)] + [0] * 50)


def test_learning_rate_of_weights_falls_to_0_until_they_stand_still():
    factors = [SCHEDULE.weight_learning_rate(step) for step in range(101)]
    assert factors[:6] == [SCHEDULE.learning_rate(step) for step in range(6)]
    assert factors[5:] == sorted(factors[5:], reverse=True)
    assert 0 < factors[94] < 0.01
    assert factors[95:] == [0] * 6


@pytest.mark.parametrize("steps", [1, 2, 3, 7])
def test_weights_stand_still_at_the_end_of_the_shortest_trainings(steps):
    schedule = replace(SCHEDULE, steps=steps)
    factors = [schedule.weight_learning_rate(step) for step in range(steps + 1)]
    assert [factor == 0 for factor in factors] == [False] * (steps - 1) + [True] * 2
