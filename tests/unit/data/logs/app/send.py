"""Send the named tasks: ``python send.py shared.tasks.quick:1,2 shared.tasks.failing:x …``"""

import sys

from shared.infrastructure.celery_app import app

for item in sys.argv[1:]:
    name, _, given = item.partition(":")
    app.send_task(name, args=[int(a) if a.isdigit() else a for a in given.split(",")] if given else [])
