"""Says how far the work is: run now and then by a schedule."""

import outbox

outbox.prepare()
state = outbox.progress()
print(f"{state['sent']} of {state['total']} e-mails are sent")
