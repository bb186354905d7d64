"""Which schedule runs after which: checked when the file is read."""

from collections.abc import Mapping

from shiftboss.core.errors import UserError
from shiftboss.core.names import suggest
from shiftboss.core.tables import ScheduleTable


def check_followers(tables: Mapping[str, ScheduleTable], file: str) -> None:
    """Raise UserError if a schedule runs after one that does not exist, or after itself by any way round."""
    for name, table in tables.items():
        where = f"{file}: schedules.{name}.after"
        seen, following = [name], table.after
        while following is not None:
            if following not in tables:
                raise UserError(
                    f"there is no schedule {following[:60]!r} in this project{suggest(following, tables)}",
                    where=where,
                    hint="Name another schedule of this file.",
                )
            if following in seen:
                chain = " after ".join([*seen, following])
                raise UserError(
                    f"goes round in a circle: {chain}", where=where, hint="Give one of them times."
                )
            seen.append(following)
            following = tables[following].after
