# Two commands do it all on a fresh machine: `make cluster` (the main job) and `make test`.
# ARGS goes to pytest: make cluster ARGS="-k V-4 --readers=3"
PYTHON := .venv/bin/python
ARGS ?=
BASELINE ?= juicefs-1.3.0
CANDIDATE ?= juicefs-1.4.2

.PHONY: help setup cluster test lint clean bench figures requirements claims images compose grid defects mutate gate

help:  ## what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 16

setup:  ## virtual environment and Debian packages, only what is missing
	@bash tools/setup.sh

cluster: setup  ## the main job: start the cluster, run the suites, a verdict for each claim
	@$(PYTHON) -m pytest -m cluster $(ARGS)

test: setup lint  ## what CI runs: lint, types, tests of the harness, the stand-in and the checkers
	@$(PYTHON) -m pytest -m selftest $(ARGS)

lint: setup
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m mypy

images: setup  ## build the local Docker images, only what is missing; ARGS="redis juicefs" for some
	@$(PYTHON) -m tools.images $(ARGS)

compose: setup  ## render compose/ again, the same cluster for Docker Compose; ARGS="--images=local -o DIR"
	@$(PYTHON) -m tools.compose $(ARGS)

bench: setup  ## the article's figures, judged, within 10 minutes; ARGS=--profile=full takes up to an hour
	@$(PYTHON) -m suites.performance.claims $(ARGS)

figures: setup  ## bring-up, shutdown, insert and checker figures; ARGS=--full adds searches in a million vectors
	@$(PYTHON) -m suites.performance.bench $(ARGS)

grid: setup  ## the whole fault grid: every role under every fault, 94 cells; ARGS="-k redis" for some
	@$(PYTHON) -m pytest -m "cluster and grid" $(ARGS)

gate: setup  ## is an upgrade safe? JuiceFS 1.3.0 to 1.4.2, within 20 minutes; BASELINE= CANDIDATE= for others
	@$(PYTHON) -m tools.gate --baseline $(BASELINE) --candidate $(CANDIDATE) $(ARGS)

defects: setup  ## would the suite notice? every seeded defect against its claims, about an hour
	@$(PYTHON) -m tools.defects $(ARGS)

mutate: setup  ## mutation testing of the checkers and the waits, about half an hour; docs/mutation.md
	@bash tools/mutate.sh $(ARGS)

clean:  ## remove what a crashed run left: processes, mounts, folders
	@if [ -x $(PYTHON) ]; then $(PYTHON) -m tools.sweep; else echo "nothing to clean: no environment here yet"; fi

claims:  ## write CLAIMS.md, the catalogue, from the tests
	@$(PYTHON) -m tools.claims > CLAIMS.md.new && mv CLAIMS.md.new CLAIMS.md

requirements: setup  ## pin again what pyproject.toml asks for
	@$(PYTHON) -m uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-header \
	  --no-emit-index-url --no-emit-find-links --group dev pyproject.toml -o requirements.txt
