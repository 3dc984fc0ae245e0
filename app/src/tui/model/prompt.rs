//! The line in which a filter is typed.

use tui_input::{Input, InputRequest};

use super::Edit;
use tcptop_core::{Filter, FilterError};

/// Longest filter in bytes.
const MAX_BYTES: usize = 500;

/// A filter while it is typed.
#[derive(Clone, Debug, Default)]
pub struct Prompt {
    input: Input,
    /// What is wrong with it, and not only unfinished.
    pub error: Option<FilterError>,
}

impl Prompt {
    /// Begins with a text and the cursor at its end.
    #[must_use]
    pub fn with(text: String) -> Self {
        Self { input: Input::new(text), error: None }
    }

    /// What was typed.
    #[must_use]
    pub fn text(&self) -> &str {
        self.input.value()
    }

    /// What is before the cursor.
    #[must_use]
    pub fn before_cursor(&self) -> &str {
        let byte = self.text().char_indices().nth(self.input.cursor()).map(|(byte, _)| byte);
        byte.map_or(self.text(), |byte| &self.text()[..byte])
    }

    /// What is before the part that is wrong, and that part, which is empty where something is missing.
    #[must_use]
    pub fn wrong(&self) -> Option<[&str; 2]> {
        let at = self.error.as_ref()?.at.clone();
        Some([self.text().get(..at.start)?, self.text().get(at)?])
    }

    /// The filter, or `None` and the [`error`](Self::error) set.
    pub fn parse(&mut self) -> Option<Filter> {
        let parsed = self.text().parse();
        self.error = parsed.as_ref().err().cloned();
        parsed.ok()
    }

    /// The filter as far as it is typed: without a last word that may become a term, and without what follows the first
    /// wrong term, which sets the [`error`](Self::error).
    pub fn parse_unfinished(&mut self) -> Filter {
        let (filter, error) = Filter::valid_part(Filter::finished(self.text()));
        self.error = error;
        filter
    }

    /// Changes the text, or moves the cursor.
    pub fn edit(&mut self, edit: Edit) {
        match edit {
            Edit::Input(InputRequest::InsertChar(letter))
                if letter.is_control() || self.text().len() + letter.len_utf8() > MAX_BYTES => {}
            Edit::Input(request) => drop(self.input.handle(request)),
            Edit::EraseTerm => self.erase_term(),
        }
    }

    /// Erases back to a blank, as shells do on Ctrl-W; tui-input stops at every sign of a term.
    fn erase_term(&mut self) {
        let is_blank = |input: &Input| {
            let before = input.cursor().checked_sub(1).and_then(|index| input.value().chars().nth(index));
            before.map(char::is_whitespace)
        };
        for blanks in [true, false] {
            while is_blank(&self.input) == Some(blanks) {
                self.input.handle(InputRequest::DeletePrevChar);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(text: &str) -> Prompt {
        let mut prompt = Prompt::default();
        text.chars().for_each(|letter| prompt.edit(Edit::Input(InputRequest::InsertChar(letter))));
        prompt
    }

    #[test]
    fn text_is_edited_where_the_cursor_is() {
        use InputRequest::{DeleteNextChar, DeletePrevChar, GoToEnd, GoToPrevChar, GoToStart, InsertChar};
        let mut prompt = typed("port:80 wéb");
        let edit = |prompt: &mut Prompt, edits: &[InputRequest]| {
            edits.iter().for_each(|request| prompt.edit(Edit::Input(*request)));
        };
        edit(&mut prompt, &[GoToPrevChar, GoToPrevChar, DeletePrevChar, InsertChar('w'), DeleteNextChar]);
        assert_eq!((prompt.text(), prompt.before_cursor().chars().count()), ("port:80 wb", 9));
        edit(&mut prompt, &[GoToStart, DeletePrevChar]);
        assert_eq!((prompt.text(), prompt.before_cursor().chars().count()), ("port:80 wb", 0));
        edit(&mut prompt, &[GoToEnd, DeleteNextChar]);
        prompt.edit(Edit::EraseTerm);
        assert_eq!((prompt.text(), prompt.before_cursor().chars().count()), ("port:80 ", 8));
        prompt.edit(Edit::EraseTerm);
        assert_eq!((prompt.text(), prompt.before_cursor().chars().count()), ("", 0));
        prompt.edit(Edit::EraseTerm);
        assert_eq!((prompt.text(), prompt.before_cursor().chars().count()), ("", 0));
    }

    #[test]
    fn nothing_but_text_and_not_too_much_of_it_goes_in() {
        assert_eq!(typed("a\u{1b}\u{7}b").text(), "ab");
        assert_eq!(typed(&"é".repeat(1_000)).text().len(), MAX_BYTES);
    }
}
