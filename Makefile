# Two commands: `make demo` and `make test`. Both do all their set-up themselves.
SHELL := /bin/bash
.DELETE_ON_ERROR:
.PHONY: help demo test plain-tests run-tests check build env venv venv-dev browser parity reference fuzz bench bench-models bench-losses bench-augment bench-metrics bench-infer evidence evidence-augmentation evidence-inference clean

PYTHON ?= python3
VENV := .venv
# torch-sys links against the wheel's libtorch; naming the folder spares importing torch while building.
SITE = $(shell $(VENV)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' 2>/dev/null)
TORCH = LIBTORCH="$(abspath $(SITE))/torch" LIBTORCH_CXX11_ABI=1
CARGO_TORCH = env -u LIBTORCH_USE_PYTORCH $(TORCH) cargo
# One profile for everything, so that the dependencies are compiled once.
FLAGS := --release --locked
# Compiling carpus and polars with optimisation takes longer than the tests gain by it. `make build` brings the fast binary back.
TEST_FLAGS := $(FLAGS) --config tests/profile.toml
DEMO_CONFIG := configs/demo.toml

help:
	@echo "make demo    set up, build, make the phantom data, run the whole chain; at the end the report's place and the scores"
	@echo "make test    set up, then format, lints, docs and every test; without libtorch, those of commands, scan and hostile files"
	@echo "make build   the release binary, target/release/carpus"
	@echo "make check   format, lints and docs only"
	@echo "make parity  every model against the library it is from, case by case (about an hour)"
	@echo "make reference  docs/commands.md and docs/configuration.md, written from the code"
	@echo "make fuzz    every reader of files on mutated files, a minute each (CARPUS_FUZZ_SECONDS); a failure is kept in target/tmp/fuzz"
	@echo "make bench   measurements against the reference libraries, ratios in one run"
	@echo "make bench-losses  time and memory of losses against segmentation_models_pytorch, distance maps against SciPy"
	@echo "make bench-augment  time of augmentation against albumentations and OpenCV"
	@echo "make bench-metrics  metrics of the masks of an image against surface-distance and MONAI"
	@echo "make bench-infer  time and memory of prediction in windows against MONAI"
	@echo "make bench-models  time and memory of models against segmentation_models_pytorch"
	@echo "make evidence  does it learn: thirteen trainings on synthetic hands, compared (hours; goes on where it was cut)"
	@echo "make evidence-inference  what windows, views, votes and thresholds add: three seeds of five folds on synthetic hands (hours, likewise)"
	@echo "make evidence-augmentation  what each augmentation adds: trainings on synthetic hands with three seeds, compared (hours, likewise)"

demo: build
	./target/release/carpus run --config $(DEMO_CONFIG) || [ $$? = 3 ]  # 3: done, and its planted faults were named

build: venv
	$(CARGO_TORCH) build $(FLAGS)

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or later is needed, found " + sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)

$(VENV)/carpus-base: requirements.txt | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements.txt
	touch $@

$(VENV)/carpus-dev: requirements-dev.txt requirements-dev.lock $(VENV)/carpus-base
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt -c requirements-dev.lock
	touch $@

venv: $(VENV)/carpus-base
venv-dev: $(VENV)/carpus-dev

# The report's test looks at the page in a real browser.
browser:
	@command -v chromium chromium-browser google-chrome >/dev/null || { \
	  command -v apt-get >/dev/null || { echo "the report's test needs chromium: install it with your package manager"; exit 1; }; \
	  if [ "$$(id -u)" = 0 ]; then S=; else S=sudo; fi; \
	  $$S apt-get update -qq && DEBIAN_FRONTEND=noninteractive $$S apt-get install -y -qq --no-install-recommends chromium >/dev/null; }

check: venv
	cargo fmt --check
	$(CARGO_TORCH) clippy $(FLAGS) --all-targets -- -D warnings
	cargo clippy $(FLAGS) --all-targets --no-default-features -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO_TORCH) doc $(FLAGS) --no-deps --lib
	RUSTDOCFLAGS="-D warnings" cargo doc $(FLAGS) --no-deps --lib --no-default-features

# Threads of libtorch that wait without spinning leave the cores to the tests that run at the same time.
test parity: export OMP_WAIT_POLICY := passive
# Tests that need the reference libraries are ignored without this variable (see build.rs).
test parity: export CARPUS_REFERENCE_LIBRARIES := 1

# Downloads and compilation at the same time: what needs no libtorch is compiled while libtorch is being installed.
test:
	$(MAKE) --no-print-directory -j2 venv-dev browser plain-tests
	$(MAKE) --no-print-directory check run-tests

plain-tests:
	cargo test $(TEST_FLAGS) --no-default-features --no-run --test it

run-tests: venv-dev browser
	cargo test $(TEST_FLAGS) --no-default-features --no-fail-fast --test it -- cli:: scan:: fuzz::
	$(CARGO_TORCH) test $(TEST_FLAGS) --no-fail-fast

# Every encoder and every decoder, where `make test` draws some; a failure is named at the end and stops nothing. CARPUS_SEED repeats a run.
parity: venv-dev
	CARPUS_KILLS=20 CARPUS_PARITY=all $(CARGO_TORCH) test $(FLAGS) --no-fail-fast --test it -- models encoders structures second_reference killed_and_resumed --nocapture --test-threads 2

# The pages that are made from the code; a test compares them with it.
reference: venv
	CARPUS_REFERENCE=write $(CARGO_TORCH) test $(TEST_FLAGS) --test it -- the_reference_pages

# Mutated files for every reader; CARPUS_SEED repeats a run. Memory is measured without libtorch alone, whose allocator is another.
fuzz: export CARPUS_FUZZ_SECONDS ?= 60
fuzz: venv
	cargo test $(FLAGS) --no-default-features --no-fail-fast --test it -- fuzz:: --nocapture --test-threads 1
	$(CARGO_TORCH) test $(FLAGS) --no-fail-fast --test it -- fuzz::configurations fuzz::safetensors --nocapture --test-threads 1

# Time and memory against segmentation_models_pytorch; BENCH_FLAGS="--device cuda --autocast bf16 --channels-last --size 1024".
bench-models: venv-dev build
	$(VENV)/bin/python tests/parity/bench_models.py target/release/carpus $(BENCH_FLAGS)

# Losses against segmentation_models_pytorch, distance maps against SciPy.
bench-losses: venv-dev
	$(CARGO_TORCH) bench --locked --bench losses

# Augmentation of an image with 29 masks against albumentations.
bench-augment: venv-dev
	$(CARGO_TORCH) bench --locked --bench augment
	$(CARGO_TORCH) bench --locked --bench augment_levels

# Metrics of the 29 classes of an image against surface-distance and MONAI.
bench-metrics: venv-dev
	$(CARGO_TORCH) bench --locked --bench metrics

# Prediction in windows against MONAI's SlidingWindowInferer.
bench-infer: venv-dev
	$(CARGO_TORCH) bench --locked --bench infer

BENCH := target/bench
bench: venv-dev build
	$(CARGO_TORCH) bench --locked --bench masks
	$(CARGO_TORCH) bench --locked --bench scan
	$(CARGO_TORCH) bench --locked --bench tables
	$(VENV)/bin/python benches/commands.py target/release/carpus $(BENCH)/commands
	./target/release/carpus phantom --out $(BENCH)/data --patients 200 --test-patients 0 --size 1024 --seed 11 --defects
	-./target/release/carpus scan $(BENCH)/data --out $(BENCH)/tables
	./target/release/carpus audit $(BENCH)/tables --out $(BENCH)/audit --truth $(BENCH)/data/truth.json

# Dice of 60 synthetic patients; two stages against one and PointRend against none, each over three seeds.
EVIDENCE := configs/evidence
RUNS := target/evidence/runs
evidence: build
	for data in hands-2048 hands-384; do ./target/release/carpus run --config $(EVIDENCE)/$$data.toml || exit 1; done
	./target/release/carpus train --config $(EVIDENCE)/patients-60.toml --name patients-60 --existing auto
	for seed in 1 2 3; do for name in one-stage two-stage plain point-rend; do \
	  ./target/release/carpus train --config $(EVIDENCE)/$$name.toml --set seed=$$seed --name $$name-seed$$seed --existing auto || exit 1; \
	done; done
	for run in $(RUNS)/plain-seed? $(RUNS)/point-rend-seed?; do \
	  ./target/release/carpus --quiet evaluate --predictions $$run/predictions_crops.csv --data target/evidence/work-384/crops --band 3 --out $$run/band3_dice.csv || exit 1; \
	done
	./target/release/carpus runs $(RUNS)
	./target/release/carpus runs compare $(RUNS)/one-stage-seed? $(RUNS)/two-stage-seed?
	./target/release/carpus runs compare $(RUNS)/plain-seed? $(RUNS)/point-rend-seed?
	./target/release/carpus runs compare $(RUNS)/plain-seed? $(RUNS)/point-rend-seed? --scores band3_dice.csv

# The flip alone, and with one thing added to it.
AUGMENTATIONS := shift-scale-rotate elastic clahe swa
evidence-augmentation: build
	./target/release/carpus run --config $(EVIDENCE)/hands-384.toml
	for seed in 1 2 3; do for name in baseline $(AUGMENTATIONS); do \
	  ./target/release/carpus train --config $(EVIDENCE)/augment-$$name.toml --set seed=$$seed --name augment-$$name-seed$$seed --existing auto || exit 1; \
	done; done
	for name in $(AUGMENTATIONS); do \
	  ./target/release/carpus runs compare $(RUNS)/augment-baseline-seed? $(RUNS)/augment-$$name-seed? || exit 1; \
	done

# Windows with views, votes and thresholds on out-of-fold predictions of three seeds.
evidence-inference: build
	./target/release/carpus run --config $(EVIDENCE)/hands-384.toml
	for seed in 1 2 3; do \
	  ./target/release/carpus train --config $(EVIDENCE)/plain.toml --set seed=$$seed --folds all --name inference-seed$$seed --existing auto || exit 1; \
	done
	PYTHON=$(VENV)/bin/python $(EVIDENCE)/inference.sh target/release/carpus $(RUNS) target/evidence/hands-384 \
	  target/evidence/work-384/crops target/evidence/work-384/folds.csv target/evidence/inference

# For a shell: eval "$$(make -s env)"
env: venv
	@echo 'export $(TORCH) $(if $(wildcard $(VENV)/carpus-dev),CARPUS_REFERENCE_LIBRARIES=1); unset LIBTORCH_USE_PYTORCH'

clean:
	rm -rf target demo-data demo-work
