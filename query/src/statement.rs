//! SQL text before it is planned: its bounds, and `?` -> `$1`.

use crate::{
    error::{QueryError, Result},
    ticket::TEXT_BYTES_MAX,
};
use datafusion::sql::sqlparser::{
    dialect::GenericDialect,
    tokenizer::{Token, TokenWithSpan, Tokenizer},
};

/// Operators in one statement. A chain of them nests one level each, and all of planning walks it.
const OPERATORS_MAX: usize = 10_000;

/// # Errors
/// If the statement is empty or larger than what is planned safely.
pub fn check(sql: &str) -> Result<()> {
    let tokens = tokens(sql)?;
    if tokens.iter().all(|token| matches!(token.token, Token::Whitespace(_) | Token::SemiColon)) {
        return Err(QueryError::Invalid("an empty statement".into()));
    }
    let operators = tokens.iter().filter(|token| nests(&token.token)).count();
    if OPERATORS_MAX < operators {
        return Err(QueryError::Exhausted(format!(
            "{operators} operators in one statement, {OPERATORS_MAX} are allowed; use IN (..) for a list of values"
        )));
    }
    Ok(())
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
        numbered += &format!("${}", at + 1);
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

fn nests(token: &Token) -> bool {
    match token {
        Token::Word(word) => {
            let operators =
                ["AND", "OR", "XOR", "NOT", "UNION", "EXCEPT", "INTERSECT", "JOIN", "CASE", "WHEN", "LIKE"];
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
        assert!(check("SELECT 1").is_ok());
        assert!(check(" ; -- nothing").is_err());
        assert!(check(&format!("SELECT 1{}", "+1".repeat(OPERATORS_MAX))).is_ok());
        assert!(check(&format!("SELECT 1{}", "+1".repeat(OPERATORS_MAX + 1))).is_err());
        assert!(check(&format!("SELECT '{}'", "x".repeat(TEXT_BYTES_MAX))).is_err());
    }

    proptest! {
        #[test]
        fn only_question_marks_change(sql in "[a-z?'\"ä$\\n /*-]{0,60}") {
            if let Ok(text) = numbered(&sql) {
                let mut back = text;
                for at in (1..=60).rev() {
                    if !sql.contains('$') {
                        back = back.replace(&format!("${at}"), "?");
                    }
                }
                prop_assert_eq!(back, sql);
            }
        }
    }
}
