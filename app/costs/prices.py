"""What an hour of a node costs: as it was set last, else as the operator's file of sizes says."""

from decimal import Decimal

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncSession

from app.clusters.vm_sizes import vm_sizes
from app.kernel.config import Settings
from app.kernel.pagination import PageQuery, fetch_page
from app.tables.cost import Price


async def current(session: AsyncSession, settings: Settings) -> dict[str, Decimal]:
    """Price of a node's hour for every size, by the size's name."""
    statement = (
        select(Price.vm_size, Price.price_per_hour)
        .ext(distinct_on(Price.vm_size))
        .order_by(Price.vm_size, Price.valid_from.desc())
    )
    found: dict[str, Decimal] = {
        name: Decimal(str(size.price_per_hour))
        for name, size in vm_sizes(settings.vm_sizes_file).items()
    }
    for name, price in await session.execute(statement):
        found[name] = price
    return found


async def history(session: AsyncSession, vm_size: str, page: PageQuery) -> tuple[list[Price], str]:
    """Prices that were set for a size, the newest first."""
    return await fetch_page(
        session,
        select(Price).where(Price.vm_size == vm_size).execution_options(populate_existing=True),
        keys=[Price.valid_from],
        page=page,
        key_of=lambda row: [row.valid_from],
        descending=True,
    )


async def put(
    session: AsyncSession, settings: Settings, *, vm_size: str, price_per_hour: float, actor: str
) -> None:
    """Set the price from now on, unless it is that already."""
    price = Decimal(str(price_per_hour))
    if (await current(session, settings))[vm_size] != price:
        session.add(Price(vm_size=vm_size, price_per_hour=price, set_by=actor))
        await session.flush()
