//! Reads what `#[derive(Debug)]` wrote, so that the values of any generated struct can be compared
//! without generating code for tests.

#[derive(Debug, PartialEq)]
pub(crate) enum Tree {
    /// Numbers, booleans, `None`, UUIDs.
    Word(String),
    /// A string or `b"…"`.
    Text(Vec<u8>),
    List(Vec<Tree>),
    /// `Some(…)`, enum variants.
    Tuple(String, Vec<Tree>),
    Struct(String, Vec<(String, Tree)>),
}

pub(crate) fn parse(text: &str) -> Tree {
    let mut parser = Parser { rest: text };
    let tree = parser.tree();
    assert_eq!(parser.rest, "", "left over of {text}");
    tree
}

struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn tree(&mut self) -> Tree {
        if self.eat("b\"") || self.eat("\"") {
            return Tree::Text(self.text());
        }
        if self.eat("[") {
            return Tree::List(self.until("]", Parser::tree));
        }
        let word = self.word();
        if self.eat("(") {
            return Tree::Tuple(word, self.until(")", Parser::tree));
        }
        if self.eat(" { ") {
            return Tree::Struct(word, self.until(" }", Parser::field));
        }
        Tree::Word(word)
    }

    fn field(&mut self) -> (String, Tree) {
        let name = self.word();
        assert!(self.eat(": "), "no value of {name} at {}", self.rest);
        (name, self.tree())
    }

    fn until<T>(&mut self, end: &str, mut item: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let mut items = Vec::new();
        while !self.eat(end) {
            items.push(item(self));
            self.eat(", ");
        }
        items
    }

    fn word(&mut self) -> String {
        let end = self.rest.find([' ', ',', ':', '(', ')', '[', ']', '{', '}']).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word.to_string()
    }

    /// What stands before the closing quote, escapes resolved. `\xNN` is a byte, `\u{…}` a character.
    fn text(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        loop {
            let c = self.char();
            match c {
                '"' => return bytes,
                '\\' => match self.char() {
                    'n' => bytes.push(b'\n'),
                    'r' => bytes.push(b'\r'),
                    't' => bytes.push(b'\t'),
                    '0' => bytes.push(0),
                    'x' => {
                        let (digits, rest) = self.rest.split_at(2);
                        self.rest = rest;
                        bytes.push(u8::from_str_radix(digits, 16).unwrap());
                    }
                    'u' => {
                        let (digits, rest) = self.rest.split_once('}').unwrap();
                        self.rest = rest;
                        let code = u32::from_str_radix(digits.trim_start_matches('{'), 16).unwrap();
                        push(&mut bytes, char::from_u32(code).unwrap());
                    }
                    literal => push(&mut bytes, literal),
                },
                c => push(&mut bytes, c),
            }
        }
    }

    fn char(&mut self) -> char {
        let c = self.rest.chars().next().expect("a closing quote");
        self.rest = &self.rest[c.len_utf8()..];
        c
    }

    fn eat(&mut self, token: &str) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }
}

fn push(bytes: &mut Vec<u8>, c: char) {
    bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}
