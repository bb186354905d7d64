"""What a worker and its processes are called in Supervisor."""

from shiftboss.core.spec import Worker


def supervisor_name(project: str, worker: str) -> str:
    """Return what a worker is called in Supervisor: the name of its program, its group and its file."""
    return f"{project}_{worker}"


def name_in_group(worker: Worker, number: int) -> str:
    """Return the name that a process (numbered from 1) has in its group."""
    group = supervisor_name(worker.project.name, worker.name)
    return group if worker.processes == 1 else f"{group}_{number - 1:02d}"


def process_name(worker: Worker, number: int) -> str:
    """Return `group:process` of a process (numbered from 1), as supervisorctl and XML-RPC take it."""
    return f"{supervisor_name(worker.project.name, worker.name)}:{name_in_group(worker, number)}"
