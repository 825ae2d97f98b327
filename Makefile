# The tasks of this project. `make help` lists them; each sets up what it needs, once.

ifndef PYTHON
PYTHON := $(shell for p in python3.12 python3.11 python3.13 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null && { echo $$p; break; }; done)
endif
VENV := .venv
BIN := $(VENV)/bin
comma := ,
# How many tests run at a time.
WORKERS ?= 2
# Which tests; none is left out with SELECT= alone.
SELECT ?= -m "not slow"
# Written last, so that an interrupted installation is not taken for a finished one.
READY := $(VENV)/.ready
# --no-compile: of thousands of modules, those that are used are compiled when they are first imported.
QUIETLY := --quiet --no-compile --disable-pip-version-check -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help setup run test lint type format schema bench bench-original stopping-report gpu-check gpu-table1 \
	gpu-structure real-photographs noise-estimate applications gpu-precision gpu-stopping-report gpu-bench time-to-quality mutants clean

help:  ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## (.*)/  make \1\t\2/' | expand -t 25

setup: $(READY)  ## create .venv and install pinned versions

$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" && $(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null \
		|| { echo "make: Python 3.11, 3.12 or 3.13 is needed and was not found; install one, or name it: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (once; a few minutes)"
	@$(BIN)/python -m pip install $(QUIETLY) torch
	@$(BIN)/python -m pip install $(QUIETLY) -e '.[dev]'
	@touch $(READY)
	@echo "installed; for the commands: source $(VENV)/bin/activate, then dip --help"

run: setup  ## restore the sample picture (minutes on a CPU)
	$(BIN)/dip experiment=quickstart

test: setup  ## the tests, but those that take longest, among them that of the wheel; SELECT= for all (WORKERS=2 at a time)
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(SELECT)

lint: setup  ## style and common mistakes
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

type: setup  ## static types
	$(BIN)/mypy

format: setup  ## rewrite the code in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

schema: setup  ## write docs/summary.schema.json, which says what the record of a run holds
	$(BIN)/python docs/write_schema.py

# Which modules of the package, such as "stopping/sure metrics"; all that mutation/run.py lists.
MODULE ?=
mutants: setup  ## change the core in small ways and count how many changes its tests notice (minutes a module; MODULE=metrics)
	@$(BIN)/python -m pip install $(QUIETLY) -e '.[mutants]'
	@$(BIN)/python mutation/run.py $(MODULE)

bench: setup  ## time an iteration against its convolutions, and what the training loop and the stopping rules add to it
	$(BIN)/python benchmarks/floor.py --size 128 model=unet precision=fp32
	$(BIN)/python benchmarks/floor.py --size 128 model=unet precision=bf16
	$(BIN)/python benchmarks/loop.py model=unet precision=fp32
	$(BIN)/python benchmarks/stopping.py model=unet precision=fp32

bench-original: setup  ## the same against the original: make bench-original ORIGINAL=checkout-of-deep-image-prior
	$(BIN)/python benchmarks/against_original.py --original $(ORIGINAL) --out outputs/bench

time-to-quality: setup  ## seconds until bf16 and float32 are as good (about 20 minutes on 2 cores; goes on where it was)
	$(BIN)/python benchmarks/time_to_quality.py --iterations 1200

stopping-report: setup  ## how well the stopping rules do, on small pictures (over an hour on 2 cores; goes on where it was)
	$(BIN)/python benchmarks/stopping_report.py --size small

# A folder of pairs NAME_real.png (one shot) and NAME_mean.png (the mean of many of the same scene).
PHOTOS ?=
noise-estimate: setup  ## how well noise is told from the picture alone, of made noise and of photographs (PHOTOS=folder; seconds)
	$(BIN)/python benchmarks/noise_estimate.py $(if $(PHOTOS),"$(PHOTOS)")

real-photographs: setup  ## what is handed back of pictures with noise that neighbours share, made ones or photographs (PHOTOS=folder; hours; goes on)
	$(BIN)/python benchmarks/real_photographs.py $(if $(PHOTOS),"$(PHOTOS)")

# A folder with missing50/, sr/set5/, set9/gt/ and inpainting/, as Deep Image Prior's authors published them.
DATA ?=
applications: setup  ## holes, small, blurred, mosaiced pictures and JPEGs: make applications DATA=folder (hours; goes on where it was)
	@test -n "$(DATA)" || { echo "make: name the folder with the pictures: make $@ DATA=folder" >&2; exit 2; }
	@$(BIN)/python -m pip install $(QUIETLY) -e '.[applications]'
	$(BIN)/python benchmarks/applications.py "$(DATA)"

gpu-check: setup  ## on a CUDA GPU: what the tests skip elsewhere, every precision, the sample at 512x512
	$(BIN)/python -m pytest tests/test_gpu.py
	$(BIN)/dip -m experiment=quickstart trainer=gpu precision=fp32,tf32,bf16,fp16,fp64 iterations=300 hydra.sweep.dir=outputs/gpu-check/precisions
	$(BIN)/dip experiment=quickstart trainer=gpu hydra.run.dir=outputs/gpu-check/quickstart

# What the next three share. They end a fit after MINUTES, and the same command goes on with it.
MINUTES ?= 8
TRAINER ?= gpu
SIZE ?= full
SEED ?= 0
IMAGE ?=
CLEAN ?=
PICTURE = $(if $(IMAGE),image.path='"$(IMAGE)"') $(if $(CLEAN),image.clean='"$(CLEAN)"')
STUDY = outputs/gpu/$@$(if $(IMAGE),-$(basename $(notdir $(IMAGE))))
define sweep
	@timeout --signal=TERM $(MINUTES)m $(BIN)/dip -m experiment=$(1) size=$(SIZE) trainer=$(TRAINER) seed=$(SEED) $(PICTURE) $(2) \
		hydra.sweep.dir=$(STUDY)/seed-$(SEED); code=$$?; \
		if [ $$code = 124 ]; then echo "make: $(MINUTES) minutes are over; the same command goes on"; exit 0; fi; \
		[ $$code = 0 ] && $(BIN)/dip-report $(STUDY) --out $(STUDY)/report
endef

gpu-table1: setup  ## on a CUDA GPU: Table 1 of the paper at 512x512 (8 minutes at a time; SEED=1 IMAGE=noisy.png CLEAN=clean.png)
	$(call sweep,table1,precision=fp32$(comma)bf16$(comma)fp64)

gpu-structure: setup  ## on a CUDA GPU: the ablation at 512x512 (likewise)
	$(call sweep,structure,precision=bf16)

gpu-precision: setup  ## on a CUDA GPU: every precision with every network at 512x512 (likewise)
	$(call sweep,precision)

gpu-stopping-report: setup  ## the same on whole pictures, on a CUDA GPU (8 minutes at a time; goes on where it was)
	$(BIN)/python benchmarks/stopping_report.py --size full --minutes 7

gpu-bench: setup  ## on a CUDA GPU: speed (8 minutes at a time; goes on where it was; ORIGINAL=checkout-of-deep-image-prior)
	@$(BIN)/python benchmarks/gpu.py --minutes $(MINUTES) $(if $(ORIGINAL),--original $(ORIGINAL))

clean:  ## remove the environment and caches; runs in outputs/ stay
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
