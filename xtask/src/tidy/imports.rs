//! What a Rust file uses: every path in it, not only those after `use`, from the crate's root on.

use std::collections::{HashMap, HashSet};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result};
use proc_macro2::{Spacing, Span, TokenStream, TokenTree};
use syn::visit::{self, Visit};

/// Macros that print, and can be called without naming their home.
const PRINTING: &[&str] = &["dbg", "eprint", "eprintln", "print", "println"];

/// Its binary and its tests call the app's library by this name.
const APP: &str = "tcptop";

/// Where aliases of aliases are no longer followed; only a circle gets there.
const DEEPEST: usize = 8;

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Import {
    /// From `crate` or the name of another crate on.
    pub(super) path: Vec<String>,
    pub(super) line: usize,
    /// From a `use`, which may bring in everything in it.
    pub(super) is_use: bool,
    pub(super) in_test: bool,
}

#[derive(Default)]
pub(super) struct Scan {
    pub(super) imports: Vec<Import>,
    /// Modules for tests that are in files of their own: `x` stands for `x.rs` and for everything in `x/`.
    pub(super) test_modules: Vec<PathBuf>,
}

/// Reads one file; `file` is its path from the workspace's root on. Of other crates, those in `crates` are
/// seen wherever they are named, and any more where a `use` brings them in.
pub(super) fn scan(file: &Path, source: &str, crates: &[String]) -> Result<Scan> {
    let tree = syn::parse_file(source).with_context(|| format!("{} does not parse", file.display()))?;
    let scope = module_of(file);
    let aliases = HashMap::new();
    let mut names = Names { crates, scope: scope.clone(), aliases, declared: HashSet::new() };
    names.visit_file(&tree);

    let mut walk = Walk { names: &names, file, scope, test_depth: 0, scan: Scan::default() };
    walk.visit_file(&tree);
    let mut scan = walk.scan;
    scan.imports.dedup();
    Ok(scan)
}

/// The module a file is, from its crate's root on: `app/src/flow/key.rs` is `flow::key`.
fn module_of(file: &Path) -> Vec<String> {
    let stem = file.with_extension("");
    let names = stem.components().filter_map(|component| match component {
        Component::Normal(name) => name.to_str().map(str::to_owned),
        _ => None,
    });
    let mut names: Vec<String> = names.skip_while(|name| name != "src").skip(1).collect();
    if names.last().is_some_and(|last| matches!(last.as_str(), "mod" | "lib" | "main")) {
        names.pop();
    }
    names
}

/// First pass: the names a file gives to things, by the module in which it does.
struct Names<'a> {
    crates: &'a [String],
    scope: Vec<String>,
    aliases: HashMap<(Vec<String>, String), Vec<String>>,
    declared: HashSet<(Vec<String>, String)>,
}

impl Names<'_> {
    /// The path from the crate's root on, or `None` for what is neither a module nor a crate: a local type,
    /// a generic parameter, a primitive.
    fn resolve(&self, scope: &[String], path: &[String], is_use: bool, depth: usize) -> Option<Vec<String>> {
        let (first, rest) = path.split_first()?;
        let from = |module: &[String]| [&["crate".to_owned()], module, rest].concat();
        match first.as_str() {
            "crate" => return Some(path.to_vec()),
            APP => return Some(from(&[])),
            "self" => return Some(from(scope)),
            "super" => {
                let (_, parent) = scope.split_last()?;
                let inner = [&["self".to_owned()], rest].concat();
                return self.resolve(parent, &inner_or_super(rest, inner), is_use, depth);
            }
            _ => {}
        }
        // A module does not see its parent's names; but with `use super::*` it does.
        for outer in (0..=scope.len()).rev().map(|length| &scope[..length]) {
            let key = (outer.to_vec(), first.clone());
            if let Some(alias) = self.aliases.get(&key).filter(|alias| alias.first() != Some(first)) {
                let whole = [alias, rest].concat();
                return if depth < DEEPEST { self.resolve(outer, &whole, true, depth + 1) } else { None };
            }
            if self.declared.contains(&key) {
                return Some([&["crate".to_owned()], outer, path].concat());
            }
        }
        (is_use || self.crates.contains(first)).then(|| path.to_vec())
    }
}

/// After one `super`, another one goes on from the parent; anything else is found in it.
fn inner_or_super(rest: &[String], inner: Vec<String>) -> Vec<String> {
    if rest.first().is_some_and(|next| next == "super") { rest.to_vec() } else { inner }
}

impl<'ast> Visit<'ast> for Names<'_> {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        let name = module.ident.to_string();
        self.declared.insert((self.scope.clone(), name.clone()));
        self.scope.push(name);
        visit::visit_item_mod(self, module);
        self.scope.pop();
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        for leaf in leaves(&item.tree) {
            if let Some(name) = leaf.name {
                self.aliases.insert((self.scope.clone(), name), leaf.path);
            }
        }
    }
}

/// Second pass: the paths.
struct Walk<'a> {
    names: &'a Names<'a>,
    file: &'a Path,
    scope: Vec<String>,
    test_depth: usize,
    scan: Scan,
}

impl Walk<'_> {
    fn found(&mut self, path: &[String], is_use: bool, span: Span) {
        if let Some(path) = self.names.resolve(&self.scope, path, is_use, 0) {
            let import = Import { path, line: span.start().line, is_use, in_test: self.test_depth > 0 };
            self.scan.imports.push(import);
        }
    }

    /// What is not parsed, as it is inside of a macro: names joined by `::` are paths there as well.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        let mut last = Span::call_site();
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.path_of_tokens(&path, false, last);
                        path.clear();
                    }
                    last = ident.span();
                    path.push(ident.to_string());
                    colons = 0;
                    continue;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' && !path.is_empty() => {
                    colons += usize::from(colons == 1 || punct.spacing() == Spacing::Joint);
                    continue;
                }
                TokenTree::Punct(punct) => self.path_of_tokens(&path, punct.as_char() == '!', last),
                TokenTree::Group(group) => {
                    self.path_of_tokens(&path, false, last);
                    self.tokens(group.stream());
                }
                TokenTree::Literal(_) => self.path_of_tokens(&path, false, last),
            }
            path.clear();
            colons = 0;
        }
        self.path_of_tokens(&path, false, last);
    }

    fn path_of_tokens(&mut self, path: &[String], is_macro: bool, span: Span) {
        match path {
            [name] if is_macro => self.macro_name(name, span),
            [] | [_] => {}
            path => self.found(path, false, span),
        }
    }

    fn macro_name(&mut self, name: &str, span: Span) {
        if PRINTING.contains(&name) {
            self.found(&["std".to_owned(), name.to_owned()], false, span);
        }
    }
}

impl<'ast> Visit<'ast> for Walk<'_> {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let test = usize::from(attributes(item).iter().any(is_for_test));
        self.test_depth += test;
        visit::visit_item(self, item);
        self.test_depth -= test;
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        let test = usize::from(item.attrs.iter().any(is_for_test));
        self.test_depth += test;
        visit::visit_impl_item_fn(self, item);
        self.test_depth -= test;
    }

    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        self.scope.push(module.ident.to_string());
        if module.content.is_none() && self.test_depth > 0 {
            let src = self.file.ancestors().find(|folder| folder.ends_with("src"));
            let inner: PathBuf = self.scope.iter().collect();
            self.scan.test_modules.extend(src.map(|src| src.join(inner)));
        }
        visit::visit_item_mod(self, module);
        self.scope.pop();
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        for leaf in leaves(&item.tree) {
            self.found(&leaf.path, true, leaf.span);
        }
    }

    fn visit_item_extern_crate(&mut self, item: &'ast syn::ItemExternCrate) {
        self.found(&[item.ident.to_string()], true, item.ident.span());
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if let ([_, _, ..], Some(first)) = (names.as_slice(), path.segments.first()) {
            self.found(&names, path.leading_colon.is_some(), first.ident.span());
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, called: &'ast syn::Macro) {
        if let Some(name) = called.path.get_ident() {
            self.macro_name(&name.to_string(), name.span());
        }
        self.visit_path(&called.path);
        self.tokens(called.tokens.clone());
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        if let syn::Meta::List(list) = &attribute.meta {
            self.tokens(list.tokens.clone());
        }
        self.visit_path(attribute.path());
    }
}

/// One name out of the tree of a `use`; a `*` has none.
struct Leaf {
    path: Vec<String>,
    name: Option<String>,
    span: Span,
}

fn leaves(tree: &syn::UseTree) -> Vec<Leaf> {
    let mut found = Vec::new();
    let mut todo = vec![(Vec::<String>::new(), tree)];
    while let Some((path, tree)) = todo.pop() {
        let join = |name: &syn::Ident| {
            // `a::{self}` is `a`.
            let more = if name == "self" && !path.is_empty() { Vec::new() } else { vec![name.to_string()] };
            [path.clone(), more].concat()
        };
        match tree {
            syn::UseTree::Path(inner) => todo.push((join(&inner.ident), &inner.tree)),
            syn::UseTree::Group(group) => {
                todo.extend(group.items.iter().rev().map(|item| (path.clone(), item)));
            }
            syn::UseTree::Name(name) => {
                let path = join(&name.ident);
                found.push(Leaf { name: path.last().cloned(), path, span: name.ident.span() });
            }
            syn::UseTree::Rename(rename) => {
                let name = Some(rename.rename.to_string());
                found.push(Leaf { path: join(&rename.ident), name, span: rename.ident.span() });
            }
            syn::UseTree::Glob(glob) => {
                found.push(Leaf { path, name: None, span: glob.star_token.spans[0] });
            }
        }
    }
    found
}

fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Const(item) => &item.attrs,
        syn::Item::Enum(item) => &item.attrs,
        syn::Item::ExternCrate(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Macro(item) => &item.attrs,
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Static(item) => &item.attrs,
        syn::Item::Struct(item) => &item.attrs,
        syn::Item::Trait(item) => &item.attrs,
        syn::Item::Type(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// `#[test]` and `#[cfg(test)]`, also with further conditions; `not(test)` and `any(test, ..)` are not it.
fn is_for_test(attribute: &syn::Attribute) -> bool {
    attribute.path().is_ident("test")
        || (attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Meta>().is_ok_and(|condition| needs_test(&condition)))
}

fn needs_test(condition: &syn::Meta) -> bool {
    let parse = syn::punctuated::Punctuated::<syn::Meta, syn::Token![,]>::parse_terminated;
    match condition {
        syn::Meta::Path(path) => path.is_ident("test"),
        syn::Meta::List(list) if list.path.is_ident("all") => {
            list.parse_args_with(parse).is_ok_and(|conditions| conditions.iter().any(needs_test))
        }
        syn::Meta::List(_) | syn::Meta::NameValue(_) => false,
    }
}

#[cfg(test)]
#[path = "imports_tests.rs"]
mod tests;
