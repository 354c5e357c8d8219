//! SQL text before it is planned: its bounds, and `?` -> `$1`.

use crate::{
    dialect::Bounded,
    error::{QueryError, Result},
    ticket::TEXT_BYTES_MAX,
};
use datafusion::sql::{
    parser::{DFParserBuilder, Statement},
    sqlparser::{
        dialect::GenericDialect,
        keywords::Keyword,
        tokenizer::{Token, TokenWithSpan, Tokenizer},
    },
};
use std::collections::HashMap;

/// Operators in one statement. A chain of them nests one level each, and planning takes the square of that: three
/// seconds for a thousand. Lists of values have no such price.
const OPERATORS_MAX: usize = 1000;

/// Expressions that the parser may start for each token; a statement that is well formed needs about one.
const STARTS_EACH: usize = 20;

/// WITH inside of WITH: finding the tables of a statement takes twice the work for each level.
const NESTED_WITH_MAX: usize = 8;

/// How often the tables after WITH may be in each other, all in all: each mention is planned again.
const MENTIONS_MAX: u64 = 1000;

/// Columns in all CUBEs of a statement, each of which doubles the sets that are grouped by.
const CUBED_MAX: usize = 10;

/// The one statement of this text.
///
/// # Errors
/// If there is none or more than one, or it is larger than what is planned safely.
pub fn parse(sql: &str) -> Result<Statement> {
    let tokens = tokens(sql)?;
    let operators: usize = tokens.iter().map(|token| weight(&token.token)).sum();
    if OPERATORS_MAX < operators {
        return Err(QueryError::Exhausted(format!(
            "{operators} operators in one statement, {OPERATORS_MAX} are allowed; use IN (..) for a list of values"
        )));
    }
    if NESTED_WITH_MAX < nested_with(&tokens) {
        return Err(QueryError::Exhausted(format!(
            "WITH is nested more than {NESTED_WITH_MAX} times; list the tables after one WITH instead"
        )));
    }
    let words: Vec<&Token> = tokens
        .iter()
        .map(|token| &token.token)
        .filter(|token| !matches!(token, Token::Whitespace(_)))
        .collect();
    if MENTIONS_MAX < mentions(&words, &mut HashMap::new()) {
        return Err(QueryError::Exhausted(format!(
            "the tables after WITH are in each other more than {MENTIONS_MAX} times; mention each of them less often"
        )));
    }
    if CUBED_MAX < cubed(&words) {
        return Err(QueryError::Exhausted(format!(
            "CUBE of more than {CUBED_MAX} columns; list the sets that you need after GROUPING SETS"
        )));
    }
    let dialect = Bounded::new(tokens.len() * STARTS_EACH);
    let statements = DFParserBuilder::new(tokens).with_dialect(&dialect).build()?.parse_statements()?;
    let mut statements = statements.into_iter();
    match (statements.next(), statements.next()) {
        (Some(one), None) => Ok(one),
        (None, _) => Err(QueryError::Invalid("an empty statement".into())),
        (Some(_), Some(_)) => {
            Err(QueryError::Invalid("more than one statement; send them one by one".into()))
        }
    }
}

/// The statement with `$1`, `$2`, .. for each `?`; those inside of strings, comments and quoted names are left alone.
///
/// # Errors
/// If the text cannot be read as SQL, or mixes both kinds of placeholder.
pub fn numbered(sql: &str) -> Result<String> {
    let tokens = tokens(sql)?;
    let placeholders = tokens.iter().filter_map(|token| match &token.token {
        Token::Placeholder(name) => Some((name.as_str(), token)),
        _ => None,
    });
    let (questions, others): (Vec<_>, Vec<_>) = placeholders.partition(|(name, _)| *name == "?");
    if let (Some(_), Some((name, _))) = (questions.first(), others.first()) {
        return Err(QueryError::Invalid(format!(
            "both ? and {name} in one statement; use one kind of placeholder"
        )));
    }
    let starts = line_starts(sql);
    let mut numbered = String::with_capacity(sql.len() + questions.len());
    let mut copied = 0;
    for (at, (_, token)) in questions.iter().enumerate() {
        let start = token.span.start;
        let line = usize::try_from(start.line).ok().and_then(|line| starts.get(line.checked_sub(1)?));
        let offset = line.and_then(|&line| {
            let column = usize::try_from(start.column).ok()?.checked_sub(1)?;
            Some(line + sql[line..].char_indices().nth(column)?.0)
        });
        let Some(offset) = offset.filter(|&offset| sql[offset..].starts_with('?')) else {
            return Err(QueryError::Internal("a placeholder is not where the tokenizer says".into()));
        };
        numbered += &sql[copied..offset];
        // A name may hold a `$`, and a number goes on: what touched the `?` must not become a part of it.
        let touches = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || "_$@#".contains(c));
        let before = if touches(numbered.chars().next_back()) { " " } else { "" };
        let after = if touches(sql[offset + 1..].chars().next()) { " " } else { "" };
        numbered += &format!("{before}${}{after}", at + 1);
        copied = offset + 1;
    }
    Ok(numbered + &sql[copied..])
}

fn tokens(sql: &str) -> Result<Vec<TokenWithSpan>> {
    if TEXT_BYTES_MAX < sql.len() {
        return Err(QueryError::Exhausted(format!(
            "a statement of more than {TEXT_BYTES_MAX} B; send a shorter one"
        )));
    }
    Tokenizer::new(&GenericDialect {}, sql)
        .tokenize_with_location()
        .map_err(|error| QueryError::Invalid(format!("the statement cannot be read: {error}")))
}

/// Operators that a token counts for.
fn weight(token: &Token) -> usize {
    match token {
        // Planning a hundred joins takes a moment, three hundred take minutes.
        Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("JOIN") => 10,
        token => usize::from(nests(token)),
    }
}

/// How many tables are planned for these tokens, each mention of one after WITH counting as what it is made of.
fn mentions(words: &[&Token], known: &mut HashMap<String, u64>) -> u64 {
    let (mut sum, mut at) = (0_u64, 0);
    while let Some(token) = words.get(at) {
        at += 1;
        let Some(name) = named(token) else { continue };
        // `name [(columns)] AS [NOT] [MATERIALIZED] (`
        let mut body = at;
        if matches!(words.get(body), Some(Token::LParen)) {
            body = closing(words, body);
        }
        if words.get(body).is_some_and(|token| is_word(token, "AS")) {
            body += 1;
            while words.get(body).is_some_and(|token| is_word(token, "NOT") || is_word(token, "MATERIALIZED"))
            {
                body += 1;
            }
            if matches!(words.get(body), Some(Token::LParen)) {
                let end = closing(words, body);
                let weight = mentions(words.get(body + 1..end).unwrap_or_default(), known).saturating_add(1);
                let most = known.entry(name).or_insert(0);
                *most = weight.max(*most);
                at = end;
                continue;
            }
        }
        sum = sum.saturating_add(known.get(&name).copied().unwrap_or(0));
    }
    sum
}

/// Columns in all CUBEs.
fn cubed(words: &[&Token]) -> usize {
    let cubes = words
        .windows(2)
        .enumerate()
        .filter(|(_, pair)| is_word(pair[0], "CUBE") && matches!(pair[1], Token::LParen));
    let columns = |(at, _): (usize, &[&Token])| {
        let inside = words.get(at + 2..closing(words, at + 1)).unwrap_or_default();
        1 + inside.iter().filter(|token| matches!(token, Token::Comma)).count()
    };
    cubes.map(columns).sum()
}

/// Behind the bracket that closes the one at `open`, or the end.
fn closing(words: &[&Token], open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in words.iter().enumerate().skip(open) {
        match token {
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    words.len()
}

fn named(token: &Token) -> Option<String> {
    match token {
        Token::Word(word) if word.quote_style.is_some() => Some(word.value.clone()),
        Token::Word(word) => Some(word.value.to_lowercase()),
        _ => None,
    }
}

fn is_word(token: &Token, name: &str) -> bool {
    matches!(token, Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(name))
}

/// The most WITHs that stand inside of each other's parentheses.
fn nested_with(tokens: &[TokenWithSpan]) -> usize {
    let (mut depth, mut most) = (0_usize, 0);
    // The depths of those that the place read now is inside of.
    let mut around: Vec<usize> = Vec::new();
    for token in tokens {
        match &token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            Token::Word(word) if word.keyword == Keyword::WITH => {
                around.retain(|at| *at < depth);
                around.push(depth);
                most = most.max(around.len());
            }
            _ => {}
        }
    }
    most
}

fn nests(token: &Token) -> bool {
    match token {
        Token::Word(word) => {
            let operators =
                ["AND", "OR", "XOR", "NOT", "UNION", "EXCEPT", "INTERSECT", "CASE", "WHEN", "LIKE"];
            word.quote_style.is_none() && operators.iter().any(|name| word.value.eq_ignore_ascii_case(name))
        }
        Token::Number(..)
        | Token::SingleQuotedString(_)
        | Token::Whitespace(_)
        | Token::Comma
        | Token::Period
        | Token::RParen
        | Token::RBracket
        | Token::Placeholder(_)
        | Token::SemiColon
        | Token::EOF => false,
        // Operators, opening brackets and whatever else a dialect knows.
        _ => true,
    }
}

fn line_starts(sql: &str) -> Vec<usize> {
    std::iter::once(0).chain(sql.match_indices('\n').map(|(at, _)| at + 1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn question_marks_are_numbered_where_they_are_parameters() {
        for (sql, wanted) in [
            ("SELECT ? + ?", "SELECT $1 + $2"),
            ("SELECT '?', \"a?\", ? -- ?\n, ?", "SELECT '?', \"a?\", $1 -- ?\n, $2"),
            ("SELECT /* ? \n ? */ 'it''s ?' , ?", "SELECT /* ? \n ? */ 'it''s ?' , $1"),
            ("SELECT 'äöü?'\r\n, ?\n\n,?", "SELECT 'äöü?'\r\n, $1\n\n,$2"),
            ("SELECT $1", "SELECT $1"),
            ("", ""),
        ] {
            assert_eq!(numbered(sql).unwrap(), wanted);
        }
        assert!(numbered("SELECT ?, $1").is_err());
        assert!(numbered("SELECT '").is_err());
    }

    #[test]
    fn a_statement_has_its_bounds() {
        assert!(parse("SELECT 1").is_ok());
        assert!(parse("SELECT 1;").is_ok());
        for wrong in [" ; -- nothing", "", "SELECT 1; SELECT 2", "SELECT '"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        assert!(parse(&format!("SELECT 1{}", "+1".repeat(OPERATORS_MAX + 1))).is_err());
        assert!(parse(&format!("SELECT '{}'", "x".repeat(TEXT_BYTES_MAX))).is_err());
    }

    /// Without the bound some of these would take years, so that returning is the promise.
    #[test]
    fn nested_keywords_are_read_or_refused_at_once() {
        let openings = [
            "CASE WHEN true THEN ",
            "CASE ",
            "CAST(",
            "INTERVAL ",
            "NOT ",
            "EXISTS (SELECT ",
            "EXTRACT(",
            "TRIM(",
            "SUBSTRING(",
            "POSITION(",
            "CONVERT(",
            "STRUCT(",
            "MAP {",
            "ARRAY[",
            "{fn ",
            "(",
            "((SELECT ",
            "PRIOR ",
            "f(x => ",
            "1 IN (SELECT ",
            "* EXCEPT (",
            "* FROM ((",
            "* FROM LATERAL (",
            "* FROM a JOIN (",
            "* FROM UNNEST(",
            "* FROM (VALUES (",
            "CAST(1 AS ARRAY<",
            "CAST(1 AS STRUCT<a ",
            "CAST(1 AS Nullable(",
        ];
        for opening in openings {
            let closing = if opening == "(" { ")" } else { "" };
            let _ = parse(&format!("SELECT {}1{}", opening.repeat(200), closing.repeat(200)));
            let _ = parse(&opening.repeat(200));
        }
        assert!(parse(&format!("SELECT {}1", "CASE WHEN true THEN ".repeat(200))).is_err());
        assert!(
            parse(&format!("SELECT {}1{}", "CASE WHEN true THEN ".repeat(12), " END".repeat(12))).is_ok()
        );
    }

    #[test]
    fn nested_withs_are_bounded_and_others_are_not() {
        let nested = |times: usize| {
            let (open, close) = ("WITH a AS (".repeat(times), ") SELECT * FROM a".repeat(times));
            format!("{open}SELECT 1{close}")
        };
        assert!(parse(&nested(NESTED_WITH_MAX)).is_ok());
        assert!(matches!(parse(&nested(NESTED_WITH_MAX + 1)), Err(QueryError::Exhausted(_))));
        let listed = (0..100).map(|i| format!("a{i} AS (SELECT CAST('' AS TIMESTAMP WITH TIME ZONE))"));
        assert!(parse(&format!("WITH {} SELECT 1", listed.collect::<Vec<_>>().join(", "))).is_ok());
    }

    #[test]
    fn what_doubles_is_bounded() {
        let doubled = |times: usize| {
            let first = "a0 AS (SELECT 1 AS x)".to_owned();
            let more = (1..=times)
                .map(|i| format!("a{i} (x) AS (SELECT l.x FROM a{} l JOIN a{} r ON true)", i - 1, i - 1));
            let all: Vec<String> = std::iter::once(first).chain(more).collect();
            format!("WITH {} SELECT * FROM a{times}", all.join(", "))
        };
        assert!(parse(&doubled(5)).is_ok());
        assert!(matches!(parse(&doubled(40)), Err(QueryError::Exhausted(_))));
        let cube = |columns: usize| {
            let columns: Vec<String> = (0..columns).map(|i| format!("c{i}")).collect();
            format!("SELECT 1 FROM reading GROUP BY CUBE ({})", columns.join(", "))
        };
        assert!(parse(&cube(10)).is_ok());
        assert!(matches!(parse(&cube(11)), Err(QueryError::Exhausted(_))));
        assert!(matches!(parse("SELECT 1 GROUP BY CUBE ("), Err(QueryError::Invalid(_))));
    }

    proptest! {
        #[test]
        fn only_question_marks_change(sql in "[a-z?'\"ä\\n /*-]{0,60}") {
            if let Ok(text) = numbered(&sql) {
                let back = (1..=60).rev().fold(text, |text, at| text.replace(&format!("${at}"), "?"));
                // But for the spaces that keep a number apart from what touches it.
                prop_assert_eq!(back.replace(' ', ""), sql.replace(' ', ""));
            }
        }
    }
}
