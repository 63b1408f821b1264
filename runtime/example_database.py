"""The example database: an invented outdoor-gear retailer, made from a seed in a few seconds.

Twelve tables, about 100,000 rows, three years of trade (2023 to 2025). Everything is drawn by
one seeded generator, so two machines make equal databases; nothing comes from real data.
"""

from __future__ import annotations

import random
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from .folders import cache_dir

NAME = "example"
"""What workflows call the example database."""
_making = threading.Lock()
SEED = 20251123
FIRST_DAY = date(2023, 1, 1)
NUM_DAYS = 3 * 365

SCHEMA = """
CREATE TABLE region (region_id INTEGER PRIMARY KEY, name TEXT NOT NULL, country TEXT NOT NULL);
CREATE TABLE store (
  store_id INTEGER PRIMARY KEY, name TEXT NOT NULL, city TEXT NOT NULL,
  region_id INTEGER NOT NULL REFERENCES region(region_id), opened_on TEXT NOT NULL,
  floor_area_m2 INTEGER NOT NULL);
CREATE TABLE employee (
  employee_id INTEGER PRIMARY KEY, name TEXT NOT NULL, job_title TEXT NOT NULL,
  store_id INTEGER NOT NULL REFERENCES store(store_id), hired_on TEXT NOT NULL,
  salary REAL NOT NULL, manager_id INTEGER REFERENCES employee(employee_id));
CREATE TABLE supplier (
  supplier_id INTEGER PRIMARY KEY, name TEXT NOT NULL, country TEXT NOT NULL,
  lead_time_days INTEGER NOT NULL);
CREATE TABLE category (category_id INTEGER PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE product (
  product_id INTEGER PRIMARY KEY, name TEXT NOT NULL,
  category_id INTEGER NOT NULL REFERENCES category(category_id),
  supplier_id INTEGER NOT NULL REFERENCES supplier(supplier_id),
  price REAL NOT NULL, cost REAL NOT NULL, launched_on TEXT NOT NULL);
CREATE TABLE customer (
  customer_id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT, city TEXT NOT NULL,
  country TEXT NOT NULL, joined_on TEXT NOT NULL, loyalty_tier TEXT NOT NULL);
CREATE TABLE orders (
  order_id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL REFERENCES customer(customer_id),
  store_id INTEGER NOT NULL REFERENCES store(store_id), ordered_on TEXT NOT NULL,
  channel TEXT NOT NULL, status TEXT NOT NULL, total REAL NOT NULL);
CREATE TABLE order_item (
  order_id INTEGER NOT NULL REFERENCES orders(order_id), line INTEGER NOT NULL,
  product_id INTEGER NOT NULL REFERENCES product(product_id), quantity INTEGER NOT NULL,
  unit_price REAL NOT NULL, PRIMARY KEY (order_id, line));
CREATE TABLE payment (
  payment_id INTEGER PRIMARY KEY, order_id INTEGER NOT NULL REFERENCES orders(order_id),
  method TEXT NOT NULL, amount REAL NOT NULL, paid_on TEXT NOT NULL);
CREATE TABLE shipment (
  shipment_id INTEGER PRIMARY KEY, order_id INTEGER NOT NULL REFERENCES orders(order_id),
  carrier TEXT NOT NULL, shipped_on TEXT NOT NULL, delivered_on TEXT);
CREATE TABLE review (
  review_id INTEGER PRIMARY KEY, product_id INTEGER NOT NULL REFERENCES product(product_id),
  customer_id INTEGER NOT NULL REFERENCES customer(customer_id), rating INTEGER NOT NULL,
  written_on TEXT NOT NULL);
CREATE INDEX orders_customer ON orders(customer_id);
CREATE INDEX order_item_product ON order_item(product_id);
"""

REGIONS = (
    ("Alpine", "Austria", ("Innsbruck", "Salzburg", "Graz")),
    ("Bavaria", "Germany", ("Munich", "Nuremberg", "Augsburg")),
    ("Baltic Coast", "Germany", ("Hamburg", "Kiel", "Rostock")),
    ("Romandy", "Switzerland", ("Geneva", "Lausanne", "Sion")),
    ("Lombardy", "Italy", ("Milan", "Bergamo", "Como")),
    ("Rhone", "France", ("Lyon", "Grenoble", "Annecy")),
    ("Bohemia", "Czechia", ("Prague", "Plzen", "Liberec")),
    ("Scania", "Sweden", ("Malmo", "Lund", "Helsingborg")),
)
CATEGORIES = {
    "Tents": ("Ridge", "Dome", "Tunnel", "Bivouac"),
    "Backpacks": ("Daypack", "Trekking Pack", "Duffel", "Summit Pack"),
    "Boots": ("Trail Boot", "Mountain Boot", "Approach Shoe", "Snow Boot"),
    "Jackets": ("Shell", "Down Jacket", "Fleece", "Windbreaker"),
    "Climbing": ("Harness", "Helmet", "Rope", "Carabiner Set"),
    "Cooking": ("Stove", "Pot Set", "Fuel Canister", "Kettle"),
    "Sleeping": ("Sleeping Bag", "Mat", "Hammock", "Pillow"),
    "Navigation": ("GPS Watch", "Compass", "Map Case", "Headlamp"),
}
BASE_PRICE = (320.0, 140.0, 180.0, 210.0, 75.0, 60.0, 130.0, 95.0)
SERIES = ("Aurora", "Boreal", "Cirrus", "Delta", "Everest", "Fjord", "Granite", "Horizon")
SUPPLIERS = ("Nordwind", "Bergwerk", "Altavia", "Terranova", "Polaris", "Montclair", "Kestrel")
SUPPLIER_COUNTRIES = ("Germany", "Italy", "Vietnam", "Portugal", "China", "Sweden", "Austria")
FIRST_NAMES = (
    *("Anna", "Ben", "Clara", "David", "Elena", "Felix", "Greta", "Hugo", "Ines", "Jonas"),
    *("Klara", "Luca", "Maria", "Nils", "Olga", "Paul", "Rosa", "Samuel", "Tereza", "Viktor"),
)
LAST_NAMES = (
    *("Bauer", "Conti", "Dubois", "Eriksson", "Fischer", "Gruber", "Huber", "Ivanova", "Jansen"),
    *("Keller", "Lind", "Moretti", "Novak", "Olsen", "Pichler", "Rossi", "Svoboda", "Weber"),
)
JOBS = (("Sales Assistant", 29_000), ("Technician", 33_000), ("Buyer", 41_000))
TIERS = ("Bronze", "Silver", "Gold", "Platinum")
STATUSES = ("completed", "completed", "completed", "completed", "returned", "cancelled")
CARRIERS = ("DHL", "UPS", "GLS", "PostNord")
METHODS = ("card", "card", "paypal", "invoice", "cash")


@dataclass
class Retailer:
    """Draws the rows of one table after the other; later tables refer to earlier ones."""

    random: random.Random
    stores: list[tuple[int, str]] = field(default_factory=list)
    customers: list[tuple[int, date]] = field(default_factory=list)
    products: list[tuple[int, float]] = field(default_factory=list)

    def name(self) -> str:
        return f"{self.random.choice(FIRST_NAMES)} {self.random.choice(LAST_NAMES)}"

    def day(self, first: date = FIRST_DAY) -> date:
        last = FIRST_DAY + timedelta(days=NUM_DAYS - 1)
        return first + timedelta(days=self.random.randint(0, max(0, (last - first).days)))

    def regions(self) -> Iterator[tuple[Any, ...]]:
        for index, (name, country, _) in enumerate(REGIONS, start=1):
            yield index, name, country

    def make_stores(self) -> Iterator[tuple[Any, ...]]:
        for region, (_, _, cities) in enumerate(REGIONS, start=1):
            for city in cities:
                number = len(self.stores) + 1
                self.stores.append((number, city))
                opened = date(2005, 1, 1) + timedelta(days=self.random.randint(0, 6000))
                area = self.random.randrange(250, 1800, 50)
                yield number, f"{city} Store", city, region, opened.isoformat(), area

    def employees(self) -> Iterator[tuple[Any, ...]]:
        number = 0
        for store, _ in self.stores:
            number += 1
            manager = number
            salary = self.random.randrange(52_000, 68_000, 500)
            hired = date(2012, 1, 1) + timedelta(days=self.random.randint(0, 3500))
            yield number, self.name(), "Store Manager", store, hired.isoformat(), salary, None
            for _ in range(self.random.randint(5, 12)):
                number += 1
                title, base = self.random.choice(JOBS)
                hired = date(2015, 1, 1) + timedelta(days=self.random.randint(0, 3900))
                pay = base + self.random.randrange(0, 9_000, 250)
                yield number, self.name(), title, store, hired.isoformat(), pay, manager

    def suppliers(self) -> Iterator[tuple[Any, ...]]:
        for index, name in enumerate(SUPPLIERS):
            yield index + 1, name, SUPPLIER_COUNTRIES[index], self.random.randint(5, 60)

    def categories(self) -> Iterator[tuple[Any, ...]]:
        yield from enumerate(CATEGORIES, start=1)

    def make_products(self) -> Iterator[tuple[Any, ...]]:
        for category, kinds in enumerate(CATEGORIES.values(), start=1):
            for kind in kinds:
                for series in SERIES:
                    number = len(self.products) + 1
                    factor = self.random.uniform(0.6, 1.7)
                    price = round(BASE_PRICE[category - 1] * factor) - 0.1
                    self.products.append((number, price))
                    cost = round(price * self.random.uniform(0.42, 0.7), 2)
                    supplier = self.random.randint(1, len(SUPPLIERS))
                    day = self.day() - timedelta(days=900)
                    name = f"{series} {kind}"
                    yield number, name, category, supplier, price, cost, day.isoformat()

    def make_customers(self, count: int) -> Iterator[tuple[Any, ...]]:
        for number in range(1, count + 1):
            _, country, cities = self.random.choice(REGIONS)
            joined = self.day() if self.random.random() < 0.6 else FIRST_DAY
            self.customers.append((number, joined))
            name = self.name()
            email = f"{name.lower().replace(' ', '.')}{number}@example.com"
            tier = self.random.choices(TIERS, weights=(60, 25, 12, 3))[0]
            yield (
                *(number, name, email if self.random.random() < 0.95 else None),
                *(self.random.choice(cities), country, joined.isoformat(), tier),
            )

    def orders(self, count: int) -> Iterator[tuple[str, tuple[Any, ...]]]:
        """Yield (table, row) for orders and everything that hangs on them."""
        payment = shipment = 0
        for number in range(1, count + 1):
            customer, joined = self.random.choice(self.customers)
            store, _ = self.random.choice(self.stores)
            day = self.day(joined)
            channel = self.random.choices(("store", "online"), weights=(3, 2))[0]
            status = self.random.choice(STATUSES)
            items = list(self.items(number))
            total = round(sum(row[3] * row[4] for row in items), 2)
            yield "orders", (number, customer, store, day.isoformat(), channel, status, total)
            yield from (("order_item", row) for row in items)
            if status != "cancelled":
                payment += 1
                method = self.random.choice(METHODS if channel == "store" else METHODS[:4])
                yield "payment", (payment, number, method, total, day.isoformat())
            if channel == "online" and status != "cancelled":
                shipment += 1
                yield "shipment", self.shipment(shipment, number, day)

    def items(self, order: int) -> Iterator[tuple[Any, ...]]:
        lines = self.random.choices((1, 2, 3, 4, 5), weights=(30, 28, 22, 12, 8))[0]
        for line in range(1, lines + 1):
            product, price = self.random.choice(self.products)
            discount = self.random.choices((1.0, 0.9, 0.75), weights=(80, 14, 6))[0]
            quantity = self.random.choices((1, 2, 3), weights=(78, 17, 5))[0]
            yield order, line, product, quantity, round(price * discount, 2)

    def shipment(self, number: int, order: int, day: date) -> tuple[Any, ...]:
        sent = day + timedelta(days=self.random.randint(0, 3))
        arrived = sent + timedelta(days=self.random.randint(1, 8))
        delivered = arrived.isoformat() if self.random.random() < 0.98 else None
        return number, order, self.random.choice(CARRIERS), sent.isoformat(), delivered

    def reviews(self, count: int) -> Iterator[tuple[Any, ...]]:
        for number in range(1, count + 1):
            product, _ = self.random.choice(self.products)
            customer, joined = self.random.choice(self.customers)
            rating = self.random.choices((1, 2, 3, 4, 5), weights=(4, 7, 16, 35, 38))[0]
            yield number, product, customer, rating, self.day(joined).isoformat()


def example_database() -> Path:
    """Give the path of this user's example database, which is made if it is not there yet."""
    with _making:
        return make_example_database(cache_dir("example") / "retailer.sqlite")


def make_example_database(
    path: Path, *, seed: int = SEED, num_orders: int = 22_000, num_customers: int = 4_000
) -> Path:
    """Write the example database; a file that is already there is kept as it is.

    The file appears whole or not at all: it is built beside its place and renamed.
    """
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".making")
    unfinished.unlink(missing_ok=True)
    connection = sqlite3.connect(unfinished)
    try:
        connection.executescript(SCHEMA)
        _fill(connection, Retailer(random.Random(seed)), num_orders, num_customers)
        connection.commit()
    finally:
        connection.close()
    unfinished.replace(path)
    return path


def _fill(db: sqlite3.Connection, shop: Retailer, num_orders: int, num_customers: int) -> None:
    _insert(db, "region", shop.regions())
    _insert(db, "store", shop.make_stores())
    _insert(db, "employee", shop.employees())
    _insert(db, "supplier", shop.suppliers())
    _insert(db, "category", shop.categories())
    _insert(db, "product", shop.make_products())
    _insert(db, "customer", shop.make_customers(num_customers))
    rows: dict[str, list[tuple[Any, ...]]] = {
        table: [] for table in ("orders", "order_item", "payment", "shipment")
    }
    for table, row in shop.orders(num_orders):
        rows[table].append(row)
    for table, found in rows.items():
        _insert(db, table, found)
    _insert(db, "review", shop.reviews(num_orders // 4))


def _insert(db: sqlite3.Connection, table: str, rows: Iterable[tuple[Any, ...]]) -> None:
    held = list(rows)
    marks = ", ".join("?" * len(held[0]))
    db.executemany(f"INSERT INTO {table} VALUES ({marks})", held)
