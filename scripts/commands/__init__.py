"""The commands of the command line.

A command reads its options, calls the package that does the work and shows what came back. It loads
that package when it is called, so that ``nbqnn --help`` does not wait for PyTorch.
"""
