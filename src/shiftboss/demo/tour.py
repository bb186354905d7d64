"""What to try, as commands that can be copied from the terminal."""

from shiftboss.demo.stage import Stage

_TOUR = """
  The page        {page}      press the button, and watch
  The project     {file}
  The outbox      {outbox}

Try, in another terminal:

  Watch           {program} status
                  {program} events -f
                  {program} logs newsletter -f
  Kill a worker   kill -9 {pid}
                  {program} history newsletter/queue
  Scale           {program} scale newsletter/queue 4
  Deploy          (cd {root} && ln -s releases/2 next && mv -T next current)
                  {program} restart newsletter

Ctrl-C stops everything{removal}. What happens meanwhile:
"""


def tour(stage: Stage, pid: int, *, keep: bool) -> str:
    """Return the text; `pid` is a queue process."""
    return _TOUR.format(
        page=stage.page,
        file=stage.project_file,
        outbox=stage.outbox,
        program=stage.program,
        root=stage.root,
        pid=pid,
        removal="; the files stay" if keep else " and removes every file",
    )
