# Breaks the lab in every known way, diagnoses, cures and judges. Included by the Makefile at the top.
FAULTS      ?=
FAULTS_DIR  ?= tests/lab/faults
FAULTS_JSON ?=
FAULTS_ARGS ?=
JOBS        ?= 1
SOAK_ARGS   ?=

# The table is of the lab's own faults and of what the remedies came to, so not of another folder or mode.
FAULTS_TABLE ?= $(if $(FAULTS_ARGS)$(filter-out tests/lab/faults,$(FAULTS_DIR)),,tests/lab/RESULTS.md)

.PHONY: faults soak

faults: $(STAMP)  ## run the faults (FAULTS="a b", JOBS=2 side by side, FAULTS_DIR=folder, FAULTS_JSON=file)
	@$(PYTHON) -m tests.lab.runner $(FAULTS) --faults-dir "$(FAULTS_DIR)" --jobs "$(JOBS)" \
	  $(if $(FAULTS_TABLE),--table "$(FAULTS_TABLE)") $(if $(FAULTS_JSON),--json "$(FAULTS_JSON)") $(FAULTS_ARGS)

soak: $(STAMP)  ## look at the healthy stack under load for 15 minutes (SOAK_ARGS="--minutes 2"): nothing may be alleged
	@$(PYTHON) -m tests.lab.soak $(if $(SOAK_ARGS),$(SOAK_ARGS),--page tests/lab/SOAK.md)
