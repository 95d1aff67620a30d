"""The command, but a second log-in does not wait until it is known to do no harm to the account."""

from worker.cli import main
from worker.portal import auth

auth.LOGIN_INTERVAL = 0.5

if __name__ == "__main__":
    main()
