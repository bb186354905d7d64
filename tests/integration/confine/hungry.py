"""Programs that take all they can get: memory, CPU, processes."""

MIB = 1 << 20
EAT = "x = []\nwhile True: x.append(bytearray(1 << 20))"
SPIN = "while True: pass"
FORK = """
import os, time
children = 0
while True:
    try:
        pid = os.fork()
    except BlockingIOError:
        break
    if pid == 0:
        time.sleep(60)
        os._exit(0)
    children += 1
print(children, flush=True)
time.sleep(60)
"""
