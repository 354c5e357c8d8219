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

/// Operators in one statement. A chain of them nests one level each, and planning takes the square of that: three
/// seconds for a thousand. Lists of values have no such price.
const OPERATORS_MAX: usize = 1000;

/// Expressions that the parser may start for each token; a statement that is well formed needs about one.
const STARTS_EACH: usize = 20;

/// WITH inside of WITH: finding the tables of a statement takes twice the work for each level.
const NESTED_WITH_MAX: usize = 8;

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
