# Two commands do everything on a fresh clone: `make pretrain` and `make test`.
#
# TORCH_INDEX: a package index to take torch from, such as one with builds without CUDA; empty: wherever pip looks.
# PYTHON:      the interpreter that the environment is made with, 3.11 or newer.
TORCH_INDEX ?=
PYTHON ?= python3
VENV ?= .venv
JOB ?= python jobs/pretrain.py
CLUSTER ?= /tmp/userrep/one
SCALED ?= /tmp/userrep/ray
NODES ?= 2

bin := $(VENV)/bin
ready := $(VENV)/.ready

.PHONY: pretrain test system slow check docs setup cluster autoscaling submit stop

pretrain: $(ready)
	$(bin)/python jobs/pretrain.py

test: check
	$(bin)/python -m pytest --numprocesses 2 --dist worksteal --durations 15

# Whole jobs as processes: killed, on an object store, on clusters that change.
system: $(ready)
	$(bin)/python -m pytest -m "system and not slow" --durations 15

slow: $(ready)
	$(bin)/python -m pytest -m slow

check: $(ready)
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/mypy

# The site in build/site; a broken link is an error.
docs: $(ready)
	$(bin)/pip install --quiet --constraint constraints.txt --editable '.[docs]'
	NO_MKDOCS_2_WARNING=1 DISABLE_MKDOCS_2_WARNING=true $(bin)/mkdocs build --strict

setup: $(ready)

# torch comes first and alone, so that the build chosen here satisfies everything that follows.
$(ready): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(bin)/pip install --quiet $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $$(grep '^torch==' constraints.txt)
	$(bin)/pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $(ready)

# A cluster of one node, on ports that are free, that asks for a token, and a job submitted to it as to any other. Address
# and token are in $(CLUSTER)/env, for `. $(CLUSTER)/env` in a shell as well.
cluster: $(ready)
	@$(bin)/python cluster/autoscaling.py start $(CLUSTER) --nodes 0

# A cluster of no nodes that starts up to NODES here when there is work: eval "$(make -s autoscaling)".
autoscaling: $(ready)
	@$(bin)/python cluster/autoscaling.py start $(SCALED) --nodes $(NODES)

submit: $(ready)
	@test -f $(CLUSTER)/env || { echo "no cluster in $(CLUSTER): make cluster starts one" >&2; exit 1; }
	. $(CLUSTER)/env && $(bin)/ray job submit --working-dir . -- $(JOB)

# These two alone: other clusters on this machine go on.
stop:
	$(bin)/python cluster/autoscaling.py stop $(CLUSTER)
	$(bin)/python cluster/autoscaling.py stop $(SCALED)
