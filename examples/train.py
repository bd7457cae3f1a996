"""Train a re-ID model on a folder with a folder per person: train.py FOLDER MODEL.safetensors."""

import sys

from lookalike.api import Config, train

folder, model = sys.argv[1:]
params = Config.model_validate({"reid": {"height": 64, "width": 32, "epochs": 2}})
train(folder, model, params)
