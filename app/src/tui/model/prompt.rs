//! The line in which a filter is typed.

use super::Edit;
use tcptop_core::{Filter, FilterError};

/// Longer filters make no sense, and could not be seen.
const LONGEST: usize = 500;

/// A text that is being typed, and what it means so far.
#[derive(Clone, Debug, Default)]
pub struct Prompt {
    text: String,
    /// In bytes, at the beginning of a character or the end.
    cursor: usize,
    /// What is wrong with it, if anything is.
    pub error: Option<FilterError>,
}

impl Prompt {
    /// Begins with a text, the cursor behind it.
    #[must_use]
    pub fn with(text: String) -> Self {
        Self { cursor: text.len(), text, error: None }
    }

    /// What was typed.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// How many characters stand before the cursor.
    #[must_use]
    pub fn column(&self) -> usize {
        self.text[..self.cursor].chars().count()
    }

    /// Where it makes no sense: the first character, and how many, at least 1.
    #[must_use]
    pub fn wrong(&self) -> Option<(usize, usize)> {
        let at = &self.error.as_ref()?.at;
        let columns = |until: usize| self.text.get(..until).unwrap_or(&self.text).chars().count();
        let from = columns(at.start);
        Some((from, columns(at.end).saturating_sub(from).max(1)))
    }

    /// The filter that stands here; without one when it makes no sense, and then it is known why.
    pub fn parse(&mut self) -> Option<Filter> {
        let parsed = self.text.parse();
        self.error = parsed.as_ref().err().cloned();
        parsed.ok()
    }

    /// The filter as far as it is typed: what may become a key has to wait for the rest of it.
    pub fn typed(&mut self) -> Option<Filter> {
        self.parse()?;
        Filter::finished(&self.text).parse().ok()
    }

    /// Changes the text, or moves the cursor in it.
    pub fn edit(&mut self, edit: Edit) {
        match edit {
            Edit::Type(letter) => self.insert(letter),
            Edit::Erase => self.erase(),
            Edit::EraseNext if self.cursor < self.text.len() => drop(self.text.remove(self.cursor)),
            Edit::EraseNext => {}
            Edit::EraseWord => self.erase_word(),
            Edit::EraseAll => *self = Self::default(),
            Edit::Cursor(characters) => self.step(characters),
        }
    }

    fn insert(&mut self, letter: char) {
        if !letter.is_control() && self.text.len() + letter.len_utf8() <= LONGEST {
            self.text.insert(self.cursor, letter);
            self.cursor += letter.len_utf8();
        }
    }

    fn erase(&mut self) {
        if let Some(letter) = self.text[..self.cursor].chars().next_back() {
            self.cursor -= letter.len_utf8();
            self.text.remove(self.cursor);
        }
    }

    fn erase_word(&mut self) {
        let before = self.text[..self.cursor].trim_end();
        let word = before.rfind(' ').map_or(0, |space| space + 1);
        self.text.replace_range(word..self.cursor, "");
        self.cursor = word;
    }

    /// As far as there are characters.
    fn step(&mut self, characters: isize) {
        let column = self.column().saturating_add_signed(characters);
        let after = self.text.char_indices().map(|(byte, _)| byte).nth(column);
        self.cursor = after.unwrap_or(self.text.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(text: &str) -> Prompt {
        let mut prompt = Prompt::default();
        text.chars().for_each(|letter| prompt.edit(Edit::Type(letter)));
        prompt
    }

    #[test]
    fn text_is_edited_where_the_cursor_is() {
        let mut prompt = typed("port:80 wéb");
        [Edit::Cursor(-2), Edit::Erase, Edit::Type('w'), Edit::EraseNext]
            .into_iter()
            .for_each(|edit| prompt.edit(edit));
        assert_eq!((prompt.text(), prompt.column()), ("port:80 wb", 9));
        [Edit::Cursor(isize::MIN), Edit::Erase].into_iter().for_each(|edit| prompt.edit(edit));
        assert_eq!((prompt.text(), prompt.column()), ("port:80 wb", 0));
        [Edit::Cursor(isize::MAX), Edit::EraseNext, Edit::EraseWord]
            .into_iter()
            .for_each(|edit| prompt.edit(edit));
        assert_eq!((prompt.text(), prompt.column()), ("port:80 ", 8));
        prompt.edit(Edit::EraseWord);
        assert_eq!((prompt.text(), prompt.column()), ("", 0));
    }

    #[test]
    fn nothing_but_text_and_not_too_much_of_it_goes_in() {
        assert_eq!(typed("a\u{1b}\u{7}b").text(), "ab");
        assert_eq!(typed(&"é".repeat(1_000)).text().len(), LONGEST);
    }
}
