# What one does most, by name: `just`, `just fast`, `just check`, `just ci`.

# list the recipes
default:
    @just --list

# install with everything a developer needs
install:
    pip install -e '.[dev]'

# tests that take under a minute in all
fast *arguments:
    pytest -m "not slow" {{arguments}}

# all tests
test *arguments:
    pytest {{arguments}}

# new random examples for the property tests, of which CI draws the same each time
explore *arguments:
    pytest --hypothesis-profile=explore {{arguments}}

# linters, types, and the direction of imports
check:
    ruff check .
    ruff format --check .
    mypy
    lint-imports

# mend what can be mended without thinking
fix:
    ruff check --fix .
    ruff format .

# the demo, as README begins
demo:
    ipo-dspy optimize

# the speed of scoring, as ratios in one run
speed:
    python -m benchmarks.scoring --rounds 3

# what must pass before a change lands, in a fresh environment
ci:
    bash .ci/run
