# Breaks the lab in every known way, diagnoses, cures and judges. Included by the Makefile at the top.
FAULTS      ?=
FAULTS_DIR  ?= tests/lab/faults
FAULTS_JSON ?=
FAULTS_ARGS ?=

.PHONY: faults

faults: $(STAMP)  ## run the faults (FAULTS="a b", FAULTS_DIR=folder, FAULTS_JSON=file, FAULTS_ARGS=--no-op)
	@$(PYTHON) -m tests.lab.runner $(FAULTS) --faults-dir "$(FAULTS_DIR)" \
	  $(if $(FAULTS_JSON),--json "$(FAULTS_JSON)") $(FAULTS_ARGS)
