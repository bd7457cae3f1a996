#!/bin/sh
# Writes deploy/team.env with new passwords, for its owner's eyes only; git ignores it.
set -eu
umask 077
cd "$(dirname "$0")"
if [ -e team.env ]; then
    echo "team.env is there already; servers that run know its passwords" >&2
    exit 1
fi
secret() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
cat > team.env <<END
PGHOST=127.0.0.1
PGPORT=5432
PGPASSWORD=$(secret)
AWS_ACCESS_KEY_ID=lookalike
AWS_SECRET_ACCESS_KEY=$(secret)
AWS_DEFAULT_REGION=us-east-1
MLFLOW_S3_ENDPOINT_URL=http://127.0.0.1:8333
MLFLOW_AUTH_ADMIN_PASSWORD=$(secret)
MLFLOW_FLASK_SERVER_SECRET_KEY=$(secret)
END
