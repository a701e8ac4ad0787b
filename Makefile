# The same commands for people and for CI. `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.DEFAULT_GOAL := help
.PHONY: help install book test lab lint record bench lock clean

help: ## list the commands
	@sed -n 's/^\([a-z]*\):.*## /make \1\t/p' $(MAKEFILE_LIST)

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info[:2] <= (3, 13) else "medtk needs Python 3.11 to 3.13; say which with make PYTHON=python3.12 ...")'
	@echo "Installing into $(VENV) (2 GB, some minutes) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --progress-bar on --quiet --no-deps --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $(READY)

install: $(READY) ## create .venv from requirements.lock

book: $(READY) ## run every notebook with the quick settings and build the book
	$(BIN)/medtk book --profile quick --jobs 2

test: $(READY) ## run the whole suite, in two processes
	$(BIN)/python -m pytest -n 2 --dist loadfile --durations=5

lab: $(READY) ## open JupyterLab at the first notebook
	$(BIN)/jupyter lab notebooks/00_start_here.ipynb

lint: $(READY) ## check code, spelling and notebooks
	$(BIN)/ruff check medtk tests benchmarks tools
	$(BIN)/codespell medtk tests book benchmarks tools *.md
	$(BIN)/medtk lint

record: $(READY) ## fill the ledger at the papers' settings (hours; goes on where it stopped)
	$(BIN)/python -m medtk.lab.recording transfer breastmnist --seeds 0 1 2 3 4
	$(BIN)/python -m medtk.lab.recording transfer pneumoniamnist dermamnist octmnist
	$(BIN)/python -m medtk.lab.recording transfer dermamnist-by-group
	$(BIN)/python -m medtk.lab.recording transfer breastmnist pneumoniamnist --trainable frozen_bn head
	$(BIN)/python -m medtk.lab.recording adversarial breastmnist --seeds 0 1 2 3 4
	$(BIN)/python -m medtk.lab.recording adversarial pneumoniamnist dermamnist octmnist
	$(BIN)/python -m medtk.lab.recording adversarial breastmnist pneumoniamnist --methods fgsm pgd trades
	$(BIN)/python -m medtk.lab.recording adversarial breastmnist pneumoniamnist --methods fgsm pgd trades --crafting training --networks mobilenetv2
	$(BIN)/python -m medtk.lab.recording adversarial breastmnist --networks mobilenetv2 --clean-shares 1.0
	$(BIN)/python -m medtk.lab.recording distillation breastmnist pneumoniamnist dermamnist octmnist
	$(BIN)/python -m medtk.lab.recording distillation dermamnist --networks densenet121 --temperatures 4 20 100
	$(BIN)/python -m medtk.lab.recording attacks breastmnist pneumoniamnist --networks mobilenetv2 --seeds 0
	$(BIN)/python -m medtk.lab.hospital_recording --ways fedavg centralised local fedbn --seeds 0
	$(BIN)/python -m medtk.lab.hospital_recording --ways fedavg centralised local fedbn --n-train 600 --seeds 0
	$(BIN)/python -m medtk.lab.hospital_recording --network small --size 32 --learning-rate 0.001 --ways fedavg centralised local fedbn fedprox fedadam median krum --seeds 0 1 2
	$(BIN)/python -m medtk.lab.hospital_recording --network small --size 32 --learning-rate 0.001 --ways fedavg local --alphas 0.1 1 10 --seeds 0 1 2
	$(BIN)/python -m medtk.lab.hospital_recording --network small --size 32 --learning-rate 0.001 --ways fedavg local --partitions iid quantity_skew --seeds 0 1 2
	$(BIN)/python -m medtk.lab.covid_recording --splits frame patient
	$(BIN)/python -m medtk.lab.covid_recording --size 64 --rounds 10 --local-epochs 1
	$(BIN)/python -m medtk.lab.covid_recording --network small --size 32 --rounds 30 --batch-size 32 --learning-rate 0.001 --splits frame patient --ways multi_modal specialised clustered sattler ifca fedprox local_head --seeds 0 1
	$(BIN)/python -m medtk.lab.covid_recording --network small --size 32 --rounds 30 --splits frame patient
	$(BIN)/python -m medtk.lab.covid_recording --network small --size 32 --rounds 30 --batch-size 16 --learning-rate 0.001 --seeds 0 1 2
	$(BIN)/python -m medtk.lab.covid_recording --network small --size 32 --rounds 30 --local-epochs 10 --batch-size 32 --learning-rate 0.001
	$(BIN)/python -m medtk.lab.covid_recording --network small --size 32 --rounds 30 --local-epochs 10 --batch-size 16 --learning-rate 0.001
	$(BIN)/python -m medtk.lab.covid_recording --network small --size 32 --rounds 100 --batch-size 32 --learning-rate 0.001
	$(BIN)/python -m medtk.lab.shortcut_recording --seeds 0 1 2
	$(BIN)/python -m medtk.lab.covid_rounds_recording communication members --splits frame patient --rounds 30
	$(BIN)/python -m medtk.lab.covid_rounds_recording late --splits patient --seeds 0 1 2
	$(BIN)/python -m medtk.lab.covid_recording --network small --size 32 --rounds 80 --local-epochs 2 --batch-size 32 --learning-rate 0.001 --splits frame patient
	$(BIN)/python -m medtk.lab.edge_recording chest_xray --networks mobilenetv2_035 --seeds 0 1 2
	$(BIN)/python -m medtk.lab.edge_recording chest_xray --networks mobilenetv2 medium small shufflenetv2_050 mobilenetv3small --forms float tuned qat8 --seeds 0
	$(BIN)/python -m medtk.lab.edge_recording pneumoniamnist dermamnist --networks small mobilenetv2_035 --forms float tuned qat8 qat4 sparse0.8 filters0.5 filters0.5+qat8 tuned+tuned --seeds 0
	$(BIN)/python -m medtk.lab.inversion_recording gradients mnist mias_paper --seeds 0 1 2
	$(BIN)/python -m medtk.lab.inversion_recording inversion mnist mias_paper --seeds 0 1 2
	$(BIN)/python -m medtk.lab.inversion_recording depth mnist mias_paper --seeds 0 1 2
	$(BIN)/python -m medtk.lab.inversion_recording attributes mias_paper --seeds 0 1 2
	$(BIN)/python -m medtk.lab.pgsl_recording recovery mnist --n-test 1000 --seeds 0 1 2
	$(BIN)/python -m medtk.lab.pgsl_recording recovery mias_paper --splits line patient --seeds 0 1 2
	$(BIN)/python -m medtk.lab.pgsl_recording streams mnist --images jsma cw bim fgsm none pgsl --n-train 3000 --epochs 4 --seeds 0 1 2
	$(BIN)/python -m medtk.lab.pgsl_recording streams mias_paper --images jsma cw bim fgsm none pgsl --splits line patient --epochs 10 --seeds 0 1 2
	$(BIN)/python -m medtk.lab.pgsl_recording streams mnist --n-train 1000 --n-test 1000 --epochs 4 --cuts 1 2 4 6
	$(BIN)/python -m medtk.lab.pgsl_recording mammograms mias_paper
	$(BIN)/python -m medtk.lab.pgsl_recording mammograms mias_paper --views lesion --learners pixels imagenet --seeds 1 2
	$(BIN)/python -m medtk.lab.pgsl_recording mammograms mias_paper --views lesion --learners imagenet --part test
	$(BIN)/python -m medtk.lab.edge_systems_recording distillation pneumoniamnist --seeds 0 1 2
	$(BIN)/python -m medtk.lab.edge_systems_recording distillation chest_xray
	$(BIN)/python -m medtk.lab.edge_systems_recording search pneumoniamnist --seeds 0 1
	$(BIN)/python -m medtk.lab.edge_systems_recording search pneumoniamnist --max-ms 0.05
	$(BIN)/python -m medtk.lab.edge_systems_recording search chest_xray
	$(BIN)/python -m medtk.lab.edge_systems_recording federated pneumoniamnist --seeds 0 1 2
	$(BIN)/python -m medtk.lab.edge_systems_recording transfer breastmnist --seeds 0 1 2
	$(BIN)/python -m medtk.lab.edge_systems_recording device pneumoniamnist
	$(BIN)/python -m medtk.lab.edge_systems_recording ladder chest_xray
	$(BIN)/python -m medtk.lab.browser_model
	$(BIN)/python -m medtk.lab.private_recording pneumoniamnist breastmnist --seeds 0 1 2
	$(BIN)/python -m medtk.lab.edge_recording retinamnist --networks small mobilenetv2_035 --forms float tuned qat8

bench: $(READY) ## compare speeds with peer libraries
	$(BIN)/python benchmarks/fgsm.py
	$(BIN)/python benchmarks/attacks.py

lock: $(READY) ## pin every version again
	$(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --upgrade --quiet -o requirements.lock
	$(BIN)/python tools/environment.py

clean: ## remove what the commands made, but not .venv
	rm -rf build .pytest_cache .ruff_cache .hypothesis
