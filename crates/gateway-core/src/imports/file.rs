//! An import's file: read once, row by row, never whole in memory.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read, Seek as _, SeekFrom};

use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::Value;
use serde_json::value::RawValue;

use super::schema::{self, RowFault};
use crate::json::Tree;

/// What the reader makes of each row.
pub(super) trait Rows {
    /// A good row: its number, counted from 1, and its JSON as it came.
    fn good(&mut self, number: u64, row: &Value, json: &str) -> io::Result<()>;
    /// A row that is not sent.
    fn bad(&mut self, number: u64, row: &Value, faults: &[RowFault]) -> io::Result<()>;
}

/// The names beside `users` in a JSON body, with their values.
pub(super) type Fields = Vec<(String, Value)>;
/// What a file has to be.
const SHAPE: &str = "the body must be a JSON array of users, or an object with one under users";
/// Longest of these values, in bytes of JSON.
const LONGEST_FIELD: usize = 4096;

/// Why a file cannot be imported at all.
#[derive(Debug)]
pub(super) enum FileFault {
    /// A sentence for the caller.
    Bad(String),
    /// The disk.
    Disk(io::Error),
}

/// Reads a file that is a JSON array, or an object with one under `users`. Rows longer than `longest`
/// bytes are bad. Gives the number of rows, and the object's other fields.
pub(super) fn read(
    mut file: File,
    longest: usize,
    rows: &mut dyn Rows,
) -> Result<(u64, Fields), FileFault> {
    file.seek(SeekFrom::Start(0)).map_err(FileFault::Disk)?;
    let mut reader = BufReader::with_capacity(64 * 1024, file);
    // Files from spreadsheets begin with a byte order mark.
    if reader
        .fill_buf()
        .map_err(FileFault::Disk)?
        .starts_with(b"\xef\xbb\xbf")
    {
        reader.consume(3);
    }
    let mut sink = Sink {
        rows,
        longest,
        count: 0,
        disk: None,
        said: None,
    };
    let mut deserializer = serde_json::Deserializer::from_reader(Meter(reader));
    let result = deserializer
        .deserialize_any(Top(&mut sink))
        .and_then(|fields| deserializer.end().map(|()| fields));
    match (sink.disk.take(), result) {
        (Some(error), _) => Err(FileFault::Disk(error)),
        (None, Ok(Some(_))) if sink.count == 0 => Err(FileFault::Bad(
            "users must hold at least one user".to_owned(),
        )),
        (None, Ok(Some(fields))) => Ok((sink.count, fields)),
        (None, Ok(None)) => Err(FileFault::Bad(SHAPE.to_owned())),
        (None, Err(error)) if error.is_io() => Err(FileFault::Disk(error.into())),
        // Of serde's own sentences some repeat what was sent, however long and secret.
        (None, Err(error)) => Err(FileFault::Bad(sink.said.take().unwrap_or_else(|| {
            let (line, column) = (error.line(), error.column());
            if error.is_data() {
                format!("{SHAPE}: line {line}, column {column}")
            } else {
                format!("the users are no JSON array: line {line}, column {column}")
            }
        }))),
    }
}

/// Passes bytes on; exists so that serde's reader has a type of its own.
struct Meter(BufReader<File>);

impl Read for Meter {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

struct Sink<'a> {
    rows: &'a mut dyn Rows,
    longest: usize,
    count: u64,
    disk: Option<io::Error>,
    /// Why the file cannot be imported, in our own words.
    said: Option<String>,
}

impl Sink<'_> {
    /// Ends the reading with a sentence for the caller.
    fn refuse<E: serde::de::Error>(&mut self, why: String) -> E {
        self.said = Some(why);
        E::custom("refused")
    }

    fn row(&mut self, json: &str) -> io::Result<()> {
        self.count += 1;
        let number = self.count;
        if json.len() > self.longest {
            // Such a row may be most of a file: as a tree it would take many times its size.
            let limit = self.longest;
            let fault = RowFault::new(
                "MAX_LENGTH",
                "",
                format!("the row alone is over Auth0's limit of {limit} bytes"),
            );
            return self.rows.bad(number, &owner(json), &[fault]);
        }
        let value = match serde_json::from_str::<Tree>(json).map(Tree::into_value) {
            Ok(Ok(value)) => value,
            Ok(Err(key)) => {
                let key: String = key.chars().filter(|c| !c.is_control()).take(64).collect();
                let fault = RowFault::new("NOT_PASSED", &key, "the key is given twice");
                return self.rows.bad(number, &owner(json), &[fault]);
            }
            Err(error) => {
                // A number out of range, half a surrogate pair, too many levels: serde names it.
                let fault = RowFault::new("INVALID_TYPE", "", format!("cannot be read: {error}"));
                return self.rows.bad(number, &owner(json), &[fault]);
            }
        };
        let faults = schema::check(&value);
        if faults.is_empty() {
            self.rows.good(number, &value, json)
        } else {
            self.rows.bad(number, &schema::masked(&value), &faults)
        }
    }
}

/// Whose row it is: its address alone, where it has one of a sane length.
fn owner(row: &str) -> Value {
    /// Longest address that is shown, in bytes, quotes and escapes included.
    const LONGEST: usize = 512;
    #[derive(serde::Deserialize)]
    struct Row<'a> {
        #[serde(borrow)]
        email: Option<&'a RawValue>,
    }
    let row = serde_json::from_str::<Row<'_>>(row).ok();
    let email = row.and_then(|row| row.email).map(RawValue::get);
    let email = email.filter(|email| email.len() <= LONGEST);
    match email.and_then(|email| serde_json::from_str::<String>(email).ok()) {
        Some(email) => serde_json::json!({ "email": email }),
        None => Value::Null,
    }
}

struct Top<'a, 'b>(&'a mut Sink<'b>);

impl<'de> Visitor<'de> for Top<'_, '_> {
    type Value = Option<Fields>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SHAPE)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
        each(seq, self.0)?;
        Ok(Some(Vec::new()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut fields, mut found) = (Fields::new(), false);
        while let Some(name) = map.next_key::<String>()? {
            if (name == "users" && found) || fields.iter().any(|(before, _)| *before == name) {
                let name = crate::query::printable(&name);
                return Err(self
                    .0
                    .refuse(format!("{name} is given twice: send it once")));
            }
            if name == "users" {
                found = true;
                map.next_value_seed(Users(&mut *self.0))?;
            } else if fields.len() < 16 {
                // As text first: it may be most of the body, and take many times its size as a tree.
                let value = map.next_value::<Box<RawValue>>()?;
                if value.get().len() > LONGEST_FIELD {
                    let name = crate::query::printable(&name);
                    return Err(self.0.refuse(format!("{name} is too long")));
                }
                match serde_json::from_str(value.get()) {
                    Ok(value) => fields.push((name, value)),
                    Err(error) => {
                        let name = crate::query::printable(&name);
                        return Err(self.0.refuse(format!("{name} cannot be read: {error}")));
                    }
                }
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found.then_some(fields))
    }
}

struct Users<'a, 'b>(&'a mut Sink<'b>);

impl<'de> DeserializeSeed<'de> for Users<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Users<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SHAPE)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<(), A::Error> {
        each(seq, self.0)
    }
}

fn each<'de, A: SeqAccess<'de>>(mut seq: A, sink: &mut Sink<'_>) -> Result<(), A::Error> {
    while let Some(row) = seq.next_element::<Box<RawValue>>()? {
        if let Err(error) = sink.row(row.get()) {
            sink.disk = Some(error);
            return Err(A::Error::custom("the disk"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[derive(Default)]
    struct Seen {
        good: Vec<(u64, String)>,
        bad: Vec<(u64, String)>,
        shown: Vec<Value>,
    }

    impl Rows for Seen {
        fn good(&mut self, number: u64, _: &Value, json: &str) -> io::Result<()> {
            self.good.push((number, json.to_owned()));
            Ok(())
        }

        fn bad(&mut self, number: u64, row: &Value, faults: &[RowFault]) -> io::Result<()> {
            self.bad.push((number, faults[0].code.to_owned()));
            self.shown.push(row.clone());
            Ok(())
        }
    }

    fn run(text: &[u8]) -> (Result<(u64, Fields), FileFault>, Seen) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text).unwrap();
        let mut seen = Seen::default();
        (read(file, 60, &mut seen), seen)
    }

    #[test]
    fn reads_both_shapes_row_by_row() {
        let (result, seen) = run(b"\xef\xbb\xbf[ {\"email\":\"a@b.cd\"} , {\"email\": 1},\n {\"email\":\"a@b.cd\",\"email\":\"x@b.cd\"}, 7]");
        assert_eq!(result.unwrap(), (4, Vec::new()));
        assert_eq!(seen.good, [(1, r#"{"email":"a@b.cd"}"#.to_owned())]);
        let codes: Vec<_> = seen.bad.iter().map(|(n, c)| (*n, c.as_str())).collect();
        assert_eq!(
            codes,
            [(2, "INVALID_TYPE"), (3, "NOT_PASSED"), (4, "INVALID_TYPE")]
        );

        let (result, seen) =
            run(br#"{"upsert":true,"users":[{"email":"a@b.cd"}],"connection":"c"}"#);
        let (count, fields) = result.unwrap();
        assert_eq!((count, fields.len(), seen.good.len()), (1, 2, 1));

        let long = format!(r#"[{{"email":"a@b.cd","name":"{}"}}]"#, "x".repeat(60));
        let (_, seen) = run(long.as_bytes());
        assert_eq!(seen.bad, [(1, "MAX_LENGTH".to_owned())]);
    }

    #[test]
    fn a_row_over_the_limit_shows_its_address_alone() {
        let filler = "1,".repeat(60);
        let long = format!(
            r#"[{{"app_metadata":{{"a":[{filler}1]}},"email":"a@b.cd"}},{{"email":"{filler}"}},[{filler}1],
            {{"email":"{}"}},{{"email":"a@b.cd","email":"{filler}"}}]"#,
            "x".repeat(600)
        );
        let (result, seen) = run(long.as_bytes());
        assert_eq!(result.unwrap().0, 5);
        assert!(seen.bad.iter().all(|(_, code)| code == "MAX_LENGTH"));
        let null = Value::Null;
        let (a, filler) = (
            serde_json::json!({"email": "a@b.cd"}),
            serde_json::json!({"email": filler}),
        );
        assert_eq!(seen.shown, [a, filler, null.clone(), null.clone(), null]);
    }

    #[test]
    fn says_why_a_file_cannot_be_read() {
        let said: Vec<String> = [
            &b""[..],
            b"{}",
            b"[]",
            b"7",
            b"\"[{\\\"password_hash\\\":\\\"canary\\\"}]\"",
            b"{\"users\":\"canary\"}",
            b"{\"users\":{}}",
            b"{\"users\":[],\"users\":[]}",
            b"{\"a\":1,\"a\":2}",
            format!("{{\"a\":[{}1]}}", "1,".repeat(2048)).as_bytes(),
            b"[{\"email\":\"a@b.cd\"}",
            b"[{\"email\":\"a@b.cd\"}]x",
            b"{\"email\":\"a@b.cd\"}\n{\"email\":\"b@b.cd\"}",
        ]
        .iter()
        .map(|text| match run(text).0 {
            Err(FileFault::Bad(why)) => why,
            other => format!("{other:?}"),
        })
        .collect();
        insta::assert_snapshot!(said.join("\n"));
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config::with_cases(64))]
        #[test]
        fn never_panics(text: Vec<u8>, json in "[\\[\\]{}\",:a@.0-9 ]{0,60}") {
            let _ = run(&text);
            let _ = run(json.as_bytes());
        }
    }
}
