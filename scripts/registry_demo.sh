#!/usr/bin/env bash
# A registry's life in three minutes: trained, staged, promoted, a worse challenger refused, a better one promoted,
# rolled back, and all of it on record. It happens in a clone in a temporary folder; this project is not touched.
set -euo pipefail
cd "$(dirname "$0")/.."
unset MLFLOW_TRACKING_URI DAGSHUB_REPO LOCKSTEP_PUBLISH MLFLOW_EXPERIMENT_NAME DVC_EXP_NAME DVC_ROOT DVC_STAGE
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
git clone -q . "$folder/lockstep"
export PATH="$PWD/.venv/bin:$PATH" PYTHONPATH="$folder/lockstep/src" LOCKSTEP_ACTOR=${LOCKSTEP_ACTOR:-demo}
cd "$folder/lockstep"
git config user.name demo
git config user.email demo@example.org
name=Accident_Prediction_LightGBM
registry="python scripts/manage_model_registry.py"

say() { printf '\n── %s\n' "$*"; }
run() {
    printf '$ %s\n' "$*"
    "$@"
}
train() { # what is trained differs by hyperparameters; of the training's own words the last lines are enough here
    printf '$ python -m pipelines.train --problem accidents --models lightgbm'
    printf ' --param %s' "$@"
    printf '\n'
    (cd src && python -m pipelines.train --problem accidents --models lightgbm "${@/#/--param=}") >"$folder/log" 2>&1 ||
        { cat "$folder/log"; exit 1; }
    grep -E '^Accident_Prediction|^\*' "$folder/log" | tail -n 2
    git commit -qam "trained: $*"
}

say "A first model, deliberately weak"
train source.sample.units=8000 lightgbm.n_estimators=25
run $registry list-versions --model-name $name

say "Staging, a look at a prediction, Production (the first one there needs the floors only)"
run $registry transition --model-name $name --version 1 --stage Staging --reason "looks sound"
run python src/models/predict_model.py src/models/test_features.json --model-name $name --stage Staging
run $registry promote --model-name $name --version 1 --reason "first release"

say "A challenger that is really worse: refused, and the refusal is on record"
train lightgbm.n_estimators=2 lightgbm.num_leaves=2
run $registry promote --model-name $name --version 2 --reason "try it" || echo "(exit code $?)"

say "A challenger that is really better: promoted, the champion archived"
train lightgbm.n_estimators=3000 lightgbm.num_leaves=10
run $registry promote --model-name $name --version 3 --reason "wins on rows neither has seen"

say "Something is wrong in use: one step back"
run $registry rollback --model-name $name --reason "complaints from the field"
run $registry get-model --model-name $name --stage Production

say "Everything that happened, and that nothing of it was altered"
run $registry history --model-name $name
run $registry verify --model-name $name
