# The lab: a real stack on this machine's Docker Engine. Included by the Makefile at the top.
FAULT  ?= healthy
PREFIX ?= ctlab_

.PHONY: lab-images lab-up lab-down lab-logs sample

lab-images: $(STAMP)  ## build the lab's images (lab-up does it too, for the fault it needs)
	@$(PYTHON) -m tests.lab.images

lab-up: $(STAMP)  ## start the lab's stack, broken in one way (FAULT=name; tests/lab/faults lists them)
	@$(PYTHON) -m tests.lab.lab up --fault "$(FAULT)" --prefix "$(PREFIX)"

lab-down: $(STAMP)  ## stop and remove the lab's stack
	@$(PYTHON) -m tests.lab.lab down --prefix "$(PREFIX)"

lab-logs: $(STAMP)  ## print the logs of the lab's backend
	@$(PYTHON) -m tests.lab.lab logs --prefix "$(PREFIX)"

sample: $(STAMP)  ## record the committed sample report anew (backend-reboot, from a neutral folder)
	@$(PYTHON) -m tests.lab.record_sample --fault backend-reboot
