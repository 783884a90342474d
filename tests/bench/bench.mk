# The tool against the commands that it replaces. Included by the Makefile at the top.
BENCH_ARGS ?=

.PHONY: bench

bench: $(STAMP)  ## measure against papermill, nbconvert and docker commands; writes tests/bench/RESULTS.md
	@$(PYTHON) -m tests.bench --table tests/bench/RESULTS.md $(BENCH_ARGS)
