"""Put N e-mails on the queue, as a web request would: python enqueue.py N."""

import sys
import time

from app import send_email

count = int(sys.argv[1]) if len(sys.argv) > 1 else 100
started = time.monotonic()
for number in range(1, count + 1):
    send_email(number)
print(f"{count} e-mails queued in {time.monotonic() - started:.2f} s; a web request could answer now")
