//! The dashboard as a browser gets it: built files, embedded, behind a strict content security policy.
//!
//! They hold no data and are shown to anybody; what they ask for then passes the entrance as every question does.

use axum::{
    Router,
    extract::{Path, Request},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
    routing::get,
};
use rust_embed::{EmbeddedFile, RustEmbed};
use std::fmt::Write;

/// What `npm run build` in `query/dashboard` wrote; a test says when it is older than its source.
#[derive(RustEmbed)]
#[folder = "dashboard/dist"]
struct Built;

/// Each view has an address of its own, and all are one page.
const VIEWS: [&str; 6] = ["/now", "/traffic", "/corridor", "/utilities", "/quality", "/ask"];
const PAGE: &str = "index.html";

/// Nothing of another host, nothing inline, nobody's frame but our own.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; img-src 'self' data: blob:; worker-src 'self'; \
    connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'";
/// Names of assets have the hash of what is in them.
const FOR_EVER: &str = "public, max-age=31536000, immutable";

pub fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let asset = |Path(path): Path<String>, headers: HeaderMap| async move {
        file(&format!("assets/{path}"), &headers, FOR_EVER)
    };
    let icon = |headers: HeaderMap| async move { file("favicon.svg", &headers, "no-cache") };
    let views = VIEWS.into_iter().fold(Router::new(), |router, view| router.route(view, get(page)));
    views.route("/assets/{*path}", get(asset)).route("/favicon.svg", get(icon))
}

async fn page(headers: HeaderMap) -> Response {
    file(PAGE, &headers, "no-cache")
}

/// At `/` a browser gets the page, and any other client what stands there.
pub async fn front(request: Request, next: Next) -> Response {
    let accept = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let is_browser = accept.is_some_and(|accept| accept.contains("text/html"));
    let is_front = request.uri().path() == "/" && matches!(*request.method(), Method::GET | Method::HEAD);
    if is_front && is_browser {
        return file(PAGE, request.headers(), "no-cache");
    }
    next.run(request).await
}

fn file(path: &str, asked: &HeaderMap, cache: &'static str) -> Response {
    let takes_brotli = asked.get(header::ACCEPT_ENCODING).and_then(|accept| accept.to_str().ok());
    let takes_brotli = takes_brotli.is_some_and(|accept| accept.split(',').any(|one| one.trim() == "br"));
    let packed = takes_brotli.then(|| Built::get(&format!("{path}.br"))).flatten();
    let is_packed = packed.is_some();
    let Some(EmbeddedFile { data, metadata }) = packed.or_else(|| Built::get(path)) else {
        return (StatusCode::NOT_FOUND, format!("no file {path}\n")).into_response();
    };
    let mut tag = String::with_capacity(34);
    for byte in &metadata.sha256_hash()[..16] {
        let _ = write!(tag, "{byte:02x}"); // a String takes everything
    }
    let tag = format!("\"{tag}\"");
    let is_known = asked.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let mut response = match is_known {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => data.into_owned().into_response(),
    };
    let headers = response.headers_mut();
    let mut say = |name, value| headers.insert(name, HeaderValue::from_static(value));
    say(header::CONTENT_TYPE, kind(path));
    say(header::CACHE_CONTROL, cache);
    say(header::VARY, "accept-encoding, accept");
    say(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY);
    say(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    say(header::REFERRER_POLICY, "no-referrer");
    if is_packed {
        say(header::CONTENT_ENCODING, "br");
    }
    if let Ok(tag) = HeaderValue::try_from(tag) {
        headers.insert(header::ETAG, tag);
    }
    response
}

fn kind(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, end)| end) {
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("json") => "application/json",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};
    use std::{
        fs,
        path::{Path, PathBuf},
    };

    /// What the built files are made of, beside `src`.
    const SOURCES: [&str; 5] =
        ["index.html", "package-lock.json", "package.json", "tsconfig.json", "vite.config.ts"];

    fn below(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { below(&path, files) } else { files.push(path) }
        }
    }

    /// As `vite.config.ts` writes it.
    fn source_hash(root: &Path) -> String {
        let mut files: Vec<PathBuf> = SOURCES.iter().map(|name| root.join(name)).collect();
        below(&root.join("src"), &mut files);
        below(&root.join("public"), &mut files);
        let name = |path: &PathBuf| path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        files.sort_by_key(name);
        let mut hash = Sha256::new();
        for path in &files {
            let bytes = fs::read(path).unwrap();
            hash.update(format!("{}\0{}\0", name(path), bytes.len()));
            hash.update(bytes);
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn what_is_served_was_built_of_the_source_that_is_here() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboard");
        let built = fs::read_to_string(root.join("built.sha256")).unwrap();
        assert_eq!(built.trim(), source_hash(&root), "run `npm ci && npm run build` in query/dashboard");
    }

    #[test]
    fn every_file_has_a_kind_and_the_page_names_only_files_that_are_there() {
        for path in Built::iter() {
            let path = path.strip_suffix(".br").unwrap_or(&path);
            assert_ne!(kind(path), "application/octet-stream", "{path}");
        }
        let page = Built::get(PAGE).unwrap();
        let page = std::str::from_utf8(&page.data).unwrap();
        let named: Vec<&str> = page.split('"').filter(|text| text.starts_with("/assets/")).collect();
        assert!(2 <= named.len() && !page.contains("<style") && !page.contains("<script>"), "{page}");
        for path in named {
            assert!(Built::get(&path[1..]).is_some(), "{path}");
        }
    }

    #[test]
    fn a_file_is_sent_once_packed_and_under_the_policy() {
        let headers = |pairs: &[(&'static str, &str)]| {
            pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
        };
        let packed = file(PAGE, &headers(&[("accept-encoding", "gzip, br")]), "no-cache");
        assert_eq!(packed.headers()["content-encoding"], "br");
        let plain = file(PAGE, &HeaderMap::new(), "no-cache");
        assert_eq!(plain.headers()["content-type"], "text/html; charset=utf-8");
        assert!(!plain.headers()["content-security-policy"].to_str().unwrap().contains("unsafe"));
        let tag = plain.headers()["etag"].to_str().unwrap();
        assert_eq!(file(PAGE, &headers(&[("if-none-match", tag)]), "no-cache").status(), 304);
        assert_eq!(file("assets/../Cargo.toml", &HeaderMap::new(), "no-cache").status(), 404);
    }
}
