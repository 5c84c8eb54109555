//! An ordered collection of items that needs no allocation for none or one.

use super::item::Item;

/// The result of every expression.
#[derive(Clone, Debug, Default)]
pub struct Collection<'e>(Repr<'e>);

#[derive(Clone, Debug, Default)]
enum Repr<'e> {
    #[default]
    Empty,
    One(Item<'e>),
    Many(Vec<Item<'e>>),
}

impl<'e> Collection<'e> {
    /// No item.
    pub const fn new() -> Self {
        Collection(Repr::Empty)
    }

    /// One item.
    pub fn one(item: impl Into<Item<'e>>) -> Self {
        Collection(Repr::One(item.into()))
    }

    /// The items in order.
    pub fn items(&self) -> &[Item<'e>] {
        match &self.0 {
            Repr::Empty => &[],
            Repr::One(item) => std::slice::from_ref(item),
            Repr::Many(items) => items,
        }
    }

    /// Adds an item at the end.
    pub fn push(&mut self, item: Item<'e>) {
        self.0 = match std::mem::take(&mut self.0) {
            Repr::Empty => Repr::One(item),
            Repr::One(first) => Repr::Many(vec![first, item]),
            Repr::Many(mut items) => {
                items.push(item);
                Repr::Many(items)
            }
        };
    }

    /// Adds all items of another collection at the end.
    pub fn append(&mut self, other: Collection<'e>) {
        match other.0 {
            Repr::Empty => {}
            Repr::One(item) => self.push(item),
            Repr::Many(items) => match &mut self.0 {
                Repr::Empty => self.0 = Repr::Many(items),
                Repr::Many(own) => own.extend(items),
                Repr::One(_) => items.into_iter().for_each(|i| self.push(i)),
            },
        }
    }

    /// Number of items.
    pub fn len(&self) -> usize {
        self.items().len()
    }

    /// No items.
    pub fn is_empty(&self) -> bool {
        self.items().is_empty()
    }

    /// The items in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Item<'e>> {
        self.items().iter()
    }

    /// The first item as a collection.
    pub fn into_first(self) -> Self {
        match self.0 {
            Repr::Many(items) => items.into_iter().next().map_or_else(Collection::new, Collection::one),
            other => Collection(other),
        }
    }
}

impl<'e> FromIterator<Item<'e>> for Collection<'e> {
    fn from_iter<I: IntoIterator<Item = Item<'e>>>(items: I) -> Self {
        let mut collection = Collection::new();
        items.into_iter().for_each(|i| collection.push(i));
        collection
    }
}

impl<'e> IntoIterator for Collection<'e> {
    type Item = Item<'e>;
    type IntoIter = std::vec::IntoIter<Item<'e>>;

    fn into_iter(self) -> Self::IntoIter {
        match self.0 {
            Repr::Empty => Vec::new(),
            Repr::One(item) => vec![item],
            Repr::Many(items) => items,
        }
        .into_iter()
    }
}

impl<'c, 'e> IntoIterator for &'c Collection<'e> {
    type Item = &'c Item<'e>;
    type IntoIter = std::slice::Iter<'c, Item<'e>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
