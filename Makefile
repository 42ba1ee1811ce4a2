# Two commands do everything on a fresh machine: `make demo` and `make test`.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed

.PHONY: help demo test test-long lint format bench bench-stream clean

help:
	@echo "make demo       install, build a rain corpus from the sample photos, draw a picture of it"
	@echo "make test       install, then format, lint, types and tests"
	@echo "make test-long  the longer campaigns: other readers in their own environments, a cluster, more kills"
	@echo "make bench      measure builds side by side with peers"
	@echo "make bench-stream  measure streams side by side with peers, each in an environment of its own"
	@echo "make format     format the code"

$(INSTALLED): pyproject.toml constraints.txt
	@PYTHON=$(PYTHON) sh scripts/check-headers.sh
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[test]'
	@touch $@

demo: $(INSTALLED)
	@mkdir -p demo
	$(BIN)/iptdata build --recipe rain --out demo/corpus
	$(BIN)/iptdata inspect demo/corpus --preview demo/preview.png
	@echo
	@echo "The picture:  demo/preview.png"
	@echo "The corpus:   demo/corpus (its README.md shows how to read it)"
	@echo "Next:         $(BIN)/iptdata recipes"
	@echo "              $(BIN)/iptdata build --recipe ipt --source FOLDER_OF_IMAGES --dry-run"

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

bench-stream: $(INSTALLED)
	$(BIN)/python benchmarks/stream.py

format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf .venv demo dist build
