use super::super::message::Headers;
use super::*;

fn message(id: &str, payload: &[u8], reply: Option<&str>) -> Raw {
    let mut headers = Headers::default();
    headers.insert(ID, id);
    let reply = reply.map(str::to_owned);
    Raw { subject: "consilium.north.a.validate.attest".to_owned(), reply, headers, payload: payload.to_vec() }
}

fn is_first(arrival: &Arrival) -> bool {
    matches!(arrival, Arrival::First(..))
}

#[test]
fn a_copy_is_known_by_its_content_and_only_for_a_while() {
    let mut copies = Copies { remembered: 4, ..Copies::default() };
    let now = Duration::ZERO;
    assert!(is_first(&copies.admit(message("1", b"x", None), None, now)));
    assert!(!is_first(&copies.admit(message("1", b"x", None), Some("hilltop"), now)));
    // Rubbish under a known name does not stand in for the message, nor a message with another mark.
    assert!(is_first(&copies.admit(message("2", b"rubbish", None), None, now)));
    assert!(is_first(&copies.admit(message("2", b"x", None), None, now)));
    let mut marked = message("2", b"x", None);
    marked.headers.insert(BLOB, "1");
    assert!(is_first(&copies.admit(marked, None, now)));
    // What its sender does not name is never a copy.
    for _ in 0..2 {
        let unnamed = Raw { headers: Headers::default(), ..message("", b"x", None) };
        assert!(is_first(&copies.admit(unnamed, None, now)));
    }
    // Four are remembered; the fifth is one too many.
    assert!(is_first(&copies.admit(message("3", b"x", None), None, now)));
    assert!(is_first(&copies.admit(message("1", b"x", None), None, now)), "the oldest is forgotten");
    assert_eq!((copies.known.len(), copies.order.len()), (4, 4));
    assert!(is_first(&copies.admit(message("1", b"x", None), None, WINDOW)), "its time is over");
    assert_eq!((copies.known.len(), copies.order.len()), (1, 1));
}

#[test]
fn every_copy_gets_the_one_answer() {
    let mut copies = Copies::default();
    let Arrival::First(_, whole) = copies.admit(message("1", b"x", Some("r1")), None, WINDOW) else {
        panic!("the first")
    };
    assert!(whole.wants_reply());
    assert!(matches!(copies.admit(message("1", b"x", Some("r2")), None, WINDOW), Arrival::Copy(None)));
    let answer = |payload: &[u8]| Raw { payload: payload.to_vec(), ..message("7", b"", None) };
    let sent: Vec<_> = whole.answer(answer(b"yes")).into_iter().map(|r| (r.subject, r.payload)).collect();
    assert_eq!(sent, [("r1".to_owned(), b"yes".to_vec()), ("r2".to_owned(), b"yes".to_vec())]);
    assert!(whole.answer(answer(b"no")).is_empty(), "only the first answer counts");
    let Arrival::Copy(Some(late)) = copies.admit(message("1", b"x", Some("r3")), None, WINDOW) else {
        panic!("an answer for a late copy")
    };
    assert_eq!((late.subject.as_str(), late.payload.as_slice()), ("r3", &b"yes"[..]));
}

#[test]
fn a_large_answer_is_not_kept_and_ways_are_bounded() {
    let mut copies = Copies::default();
    let Arrival::First(_, whole) = copies.admit(message("1", b"x", Some("r")), None, WINDOW) else {
        panic!("the first")
    };
    for i in 0..20 {
        copies.admit(message("1", b"x", Some(&format!("r{i}"))), Some(&format!("hub-{i}")), WINDOW);
    }
    assert_eq!(whole.answer(Raw { payload: vec![0; KEPT_ANSWER], ..message("7", b"", None) }).len(), WAYS);
    assert!(matches!(copies.admit(message("1", b"x", Some("late")), None, WINDOW), Arrival::Copy(None)));
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = Arc::clone(&told);
    whole.on_each_link(Box::new(move |link| tell.lock().unwrap().push(link.to_owned())));
    assert_eq!(told.lock().unwrap().len(), WAYS);
}

#[test]
fn each_link_is_told_once_before_and_after() {
    let mut copies = Copies::default();
    let Arrival::First(_, whole) = copies.admit(message("1", b"x", None), Some("hilltop"), WINDOW) else {
        panic!("the first")
    };
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = Arc::clone(&told);
    whole.on_each_link(Box::new(move |link| tell.lock().unwrap().push(link.to_owned())));
    for link in ["hilltop", "lakeside", "lakeside", "hilltop"] {
        copies.admit(message("1", b"x", None), Some(link), WINDOW);
    }
    assert_eq!(*told.lock().unwrap(), ["hilltop", "lakeside"]);
}

#[test]
fn kept_answers_are_bounded_and_given_back() {
    let mut copies = Copies::default();
    let size = KEPT_ANSWER - 100;
    for i in 0..KEPT / size + 10 {
        let Arrival::First(_, whole) = copies.admit(message(&i.to_string(), b"x", Some("r")), None, WINDOW)
        else {
            panic!("the first")
        };
        whole.answer(Raw { payload: vec![0; size], ..message("7", b"", None) });
    }
    let kept = Arc::clone(&copies.kept);
    let held = kept.load(Ordering::Relaxed);
    assert!(held <= KEPT && held > KEPT - KEPT_ANSWER, "{held}");
    assert!(is_first(&copies.admit(message("new", b"x", None), None, WINDOW * 2)));
    assert_eq!(kept.load(Ordering::Relaxed), 0);
}
