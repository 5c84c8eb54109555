//! What an expression yields: elements of the record and computed values.

mod calendar;
mod collection;
mod decimal;
mod item;
mod quantity;
mod temporal;
mod ucum;
mod ucum_table;

pub use calendar::CalendarUnit;
pub use collection::Collection;
pub use decimal::{Decimal, MAX_SCALE, Rounding};
pub(crate) use item::json_string;
pub use item::{Element, Item, TypeInfo, Value};
pub use quantity::{Quantity, Unit};
pub use temporal::{Precision, Temporal, TemporalKind};
pub(crate) use ucum::is_unit;
