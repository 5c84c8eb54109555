//! Search over keyed hashes. This is the only place that turns a query into SQL over `records`.

use super::records::{Records, StoredRecord, columns, from_row};
use super::{StoreError, int, uint};
use sqlx::AnyConnection;
use sqlx::any::AnyArguments;
use sqlx::query::Query;
use sqlx::{Any, AssertSqlSafe, Row as _};

/// What to find. All conditions must hold.
#[derive(Debug, Clone, Default)]
pub struct Search {
    pub resource_type: String,
    /// Each inner list is one parameter: any of its keyed hashes.
    pub index: Vec<Vec<Vec<u8>>>,
    /// Only records with one of these handles (`_id`).
    pub handles: Option<Vec<Vec<u8>>>,
    /// Only this patient's records: the caller's authority, not a filter of the caller's.
    pub compartment: Option<Vec<u8>>,
    /// Bounds on the time of the last update, inclusive.
    pub updated_from: Option<u64>,
    pub updated_to: Option<u64>,
    /// Whether pending versions count (in place of the current ones they supersede).
    pub pending: bool,
}

enum Argument {
    Int(i64),
    Text(String),
    Bytes(Vec<u8>),
}

#[derive(Default)]
struct Builder {
    text: String,
    arguments: Vec<Argument>,
}

impl Builder {
    /// Appends the place of an argument: data never becomes part of the text.
    fn argument(&mut self, argument: Argument) {
        self.arguments.push(argument);
        self.text.push('$');
        self.text.push_str(&self.arguments.len().to_string());
    }
    fn any_of(&mut self, values: &[Vec<u8>]) {
        self.text.push('(');
        for (i, value) in values.iter().enumerate() {
            if i > 0 {
                self.text.push_str(", ");
            }
            self.argument(Argument::Bytes(value.clone()));
        }
        self.text.push(')');
    }
    fn query(self) -> Query<'static, Any, AnyArguments> {
        let mut query = sqlx::query(AssertSqlSafe(self.text));
        for argument in self.arguments {
            query = match argument {
                Argument::Int(v) => query.bind(v),
                Argument::Text(v) => query.bind(v),
                Argument::Bytes(v) => query.bind(v),
            };
        }
        query
    }
}

fn conditions(search: &Search, out: &mut Builder) {
    out.text.push_str(" FROM records r WHERE r.resource_type = ");
    out.argument(Argument::Text(search.resource_type.clone()));
    if search.pending {
        out.text.push_str(
            " AND r.status IN (0, 1) AND NOT EXISTS (SELECT 1 FROM records n WHERE n.resource_type = r.resource_type \
             AND n.handle = r.handle AND n.version > r.version AND +n.status IN (0, 1))",
        );
    } else {
        out.text.push_str(" AND r.status = 1");
    }
    if let Some(compartment) = &search.compartment {
        out.text.push_str(" AND r.compartment = ");
        out.argument(Argument::Bytes(compartment.clone()));
    }
    if let Some(handles) = &search.handles {
        out.text.push_str(" AND r.handle IN ");
        out.any_of(handles);
    }
    for values in &search.index {
        out.text.push_str(" AND r.seq IN (SELECT rec FROM index_values WHERE value IN ");
        out.any_of(values);
        out.text.push(')');
    }
    if let Some(from) = search.updated_from {
        out.text.push_str(" AND r.updated_ms >= ");
        out.argument(Argument::Int(int(from)));
    }
    if let Some(to) = search.updated_to {
        out.text.push_str(" AND r.updated_ms <= ");
        out.argument(Argument::Int(int(to)));
    }
}

/// An empty list of alternatives matches nothing; SQL has no empty `IN ()`.
fn matches_nothing(search: &Search) -> bool {
    search.index.iter().any(Vec::is_empty) || search.handles.as_ref().is_some_and(Vec::is_empty)
}

impl Records {
    /// Matches with `seq > after`, in the order of storing, at most `limit`. Ask for one more than a page to learn
    /// whether there is a next one.
    pub async fn search(
        &self,
        search: &Search,
        after: u64,
        limit: u32,
    ) -> Result<Vec<StoredRecord>, StoreError> {
        if matches_nothing(search) {
            return Ok(Vec::new());
        }
        let mut out = Builder { text: format!("SELECT {}", columns("r.")), ..Builder::default() };
        conditions(search, &mut out);
        out.text.push_str(" AND r.seq > ");
        out.argument(Argument::Int(int(after)));
        out.text.push_str(" ORDER BY r.seq LIMIT ");
        out.argument(Argument::Int(i64::from(limit)));
        let found = out.query().fetch_all(&self.sql().read).await?;
        found.iter().map(from_row).collect()
    }

    /// Number of matches.
    pub async fn count(&self, search: &Search) -> Result<u64, StoreError> {
        if matches_nothing(search) {
            return Ok(0);
        }
        let mut out = Builder { text: "SELECT CAST(COUNT(*) AS BIGINT)".to_owned(), ..Builder::default() };
        conditions(search, &mut out);
        let row = out.query().fetch_one(&self.sql().read).await?;
        uint(row.try_get(0)?, "count")
    }
}

/// Whether a pending or current record has these values, as the open transaction sees it.
pub(super) async fn exists(
    tx: &mut AnyConnection,
    resource_type: &str,
    index: &[Vec<Vec<u8>>],
) -> Result<bool, StoreError> {
    let search = Search {
        resource_type: resource_type.to_owned(),
        index: index.to_vec(),
        pending: true,
        ..Search::default()
    };
    if matches_nothing(&search) {
        return Ok(false);
    }
    let mut out = Builder { text: "SELECT r.seq".to_owned(), ..Builder::default() };
    conditions(&search, &mut out);
    out.text.push_str(" LIMIT 1");
    Ok(out.query().fetch_optional(tx).await?.is_some())
}
