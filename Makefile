# On a fresh machine, two commands are enough: `make demo` and `make test`.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed

.PHONY: help demo test test-long lint format bench bench-plan bench-stream bench-train bench-restore proof docs-pictures docs-options clean

help:
	@echo "make demo           install, build a rain corpus from the sample photos, draw it, train a small network on it for a minute"
	@echo "make test           install, then check format, lint and types, and run the tests"
	@echo "make test-long      run the longer tests: other readers in their own environments, a cluster, more kills"
	@echo "make bench          measure builds against other tools, and predict them on up to 4,096 cores"
	@echo "make bench-plan     measure time and memory of planning 1.28 and 14 million images, and of 20,000 manifests"
	@echo "make bench-train    measure training steps: share of the machine's rate, memory, the contrastive loss"
	@echo "make bench-stream   measure streams against other loaders, each in its own environment"
	@echo "make bench-restore  measure time and memory of restoring photos of increasing size"
	@echo "make proof          train small networks on a corpus and measure them on real benchmarks; needs IPTDATA_SHARED, takes most of an hour"
	@echo "make docs-pictures  regenerate the pictures in docs/pictures; needs chromium"
	@echo "make docs-options   regenerate docs/options.md, the tables of all options"
	@echo "make format         format the code and apply lint fixes"
	@echo "make clean          remove .venv, demo, dist and build"

$(INSTALLED): pyproject.toml constraints.txt
	@PYTHON=$(PYTHON) sh scripts/check-headers.sh
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[test]'
	@touch $@

demo: $(INSTALLED)
	@mkdir -p demo
	$(BIN)/iptdata build --recipe rain --patches-per-image 64 --out demo/corpus
	$(BIN)/iptdata inspect demo/corpus
	$(BIN)/iptdata inspect demo/corpus --preview demo/preview.png --html demo/corpus.html
	$(BIN)/iptdata train --shards demo/corpus --model ipt-tiny --batch-size 16 --steps 130 --lr 1e-3 --out demo/run --no-resume
	@echo
	@echo "Pictures:  demo/preview.png, and demo/corpus.html for a browser"
	@echo "Corpus:    demo/corpus (its README.md shows how to read it)"
	@echo "Run:       demo/run (metrics.jsonl, checkpoints, TensorBoard files); the table above shows the loss by task"
	@echo "Full size: $(BIN)/iptdata build --recipe ipt --source imagenet/train --dry-run"
	@echo "           torchrun --nproc-per-node 8 -m iptdata train --shards corpus    # 118.9 M parameters, 300 epochs"
	@echo "           docs/training.md explains how long that takes"

lint: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python

test: lint
	$(BIN)/python -m pytest -m "not long"

test-long: $(INSTALLED)
	$(BIN)/python -m pytest -m long

bench: $(INSTALLED)
	$(BIN)/python benchmarks/build.py
	$(BIN)/python benchmarks/scheduler.py

bench-plan: $(INSTALLED)
	$(BIN)/python benchmarks/plan.py
	$(BIN)/python benchmarks/plan.py --images 14000000 --classes 21841 --holdout 0.01 --write
	$(BIN)/python benchmarks/manifests.py

bench-stream: $(INSTALLED)
	$(BIN)/python benchmarks/stream.py

bench-train: $(INSTALLED)
	$(BIN)/python benchmarks/train.py

bench-restore: $(INSTALLED)
	$(BIN)/python benchmarks/restore.py

proof: $(INSTALLED)
	$(BIN)/python benchmarks/proof.py

docs-pictures: $(INSTALLED)
	$(BIN)/python scripts/docs_pictures.py

docs-options: $(INSTALLED)
	$(BIN)/python scripts/docs_options.py

format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf .venv demo dist build
