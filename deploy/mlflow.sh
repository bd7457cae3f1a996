#!/bin/sh
# MLflow's tracking server with accounts, on PostgreSQL, files through it into an S3 store: docs/team.md.
# Passwords come by the environment, which other users of a machine cannot read, as they can a
# command line:
#
#   set -a; . deploy/team.env; set +a; deploy/mlflow.sh
set -eu
: "${PGPASSWORD:?}" "${AWS_SECRET_ACCESS_KEY:?}" "${MLFLOW_S3_ENDPOINT_URL:?}"
: "${MLFLOW_AUTH_ADMIN_PASSWORD:?}" "${MLFLOW_FLASK_SERVER_SECRET_KEY:?}"
folder=$(CDPATH='' cd "$(dirname "$0")" && pwd)
export MLFLOW_BACKEND_STORE_URI=postgresql+psycopg://mlflow@/mlflow
export MLFLOW_ARTIFACTS_DESTINATION="${MLFLOW_ARTIFACTS_DESTINATION:-s3://lookalike/mlflow}"
export MLFLOW_AUTH_CONFIG_PATH="$folder/accounts.ini"
export MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false
export MLFLOW_DISABLE_TELEMETRY=true
export MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR=false
exec mlflow server --app-name basic-auth --host "${HOST:-127.0.0.1}" --port "${PORT:-5000}" "$@"
