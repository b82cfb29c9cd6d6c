#include "wire/request_head.hpp"

#include "wire/bytes.hpp"
#include "wire/field_line.hpp"

#include <algorithm>
#include <string>
#include <utility>

namespace gw::wire {
namespace {

// Longer than any registered method: what follows is not one.
constexpr std::size_t longest_method = 20;

std::unexpected<failure> refuse_head(code what, std::string text, int status = 0)
{
    failure why{.what = what, .from = origin::client, .text = std::move(text)};
    why.status = status;
    why.close = true;
    return std::unexpected(std::move(why));
}

std::unexpected<failure> bad_byte(std::size_t at, std::string_view where, std::string_view problem)
{
    std::string text{"bad request: "};
    text.append(problem).append(" in the ").append(where).append(", byte ").append(std::to_string(at));
    return refuse_head(code::bad_framing, std::move(text));
}

std::unexpected<failure> bad_field(std::string_view name, std::string_view problem, int status = 0)
{
    return refuse_head(
        code::bad_framing, std::string{"bad request: "}.append(name).append(" ").append(problem), status
    );
}

void clear(request_head& out)
{
    std::vector<field> kept = std::move(out.fields);
    kept.clear();
    out = request_head{};
    out.fields = std::move(kept);
}

method known_method(std::string_view text)
{
    switch (text.size()) {
    case 3:
        return text == "GET" ? method::get : text == "PUT" ? method::put : method::other;
    case 4:
        return text == "POST" ? method::post : text == "HEAD" ? method::head : method::other;
    case 5:
        return text == "PATCH" ? method::patch : method::other;
    case 6:
        return text == "DELETE" ? method::delete_ : method::other;
    case 7:
        return text == "OPTIONS" ? method::options : method::other;
    default:
        return method::other;
    }
}

// Names that decide about framing or identity: spelled with `_` they are refused, since servers that map
// fields to environment variables read both spellings as one.
bool sensitive_twin(std::string_view name)
{
    static constexpr std::string_view names[] = {
        "host",
        "content-length",
        "transfer-encoding",
        "connection",
        "keep-alive",
        "te",
        "trailer",
        "upgrade",
        "expect",
        "content-type",
        "content-encoding",
        "authorization",
        "proxy-authorization",
        "x-api-key",
        "x-hf-authorization",
        "x-hf-bill-to",
        "cookie",
        "origin",
        "forwarded",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-real-ip",
        "x-fourways-timeout",
        "x-request-id",
    };
    const auto equal = [name](std::string_view known) {
        return name.size() == known.size() && std::ranges::equal(name, known, [](char a, char b) {
                   return a == '_' ? b == '-' : bytes::lower(a) == b;
               });
    };
    return std::ranges::any_of(names, equal);
}

// One pass over one head. Framing fields are only collected: they are judged together at the end.
class scan
{
public:
    scan(std::string_view seen, const head_limits& limits, request_head& out)
        : bytes_(seen), limits_(limits), out_(out)
    {
    }

    result<std::optional<std::size_t>> run()
    {
        // RFC 9112 section 2.2: a client may leave an empty line behind an earlier body.
        for (int skipped = 0; skipped < 2 && at_ < bytes_.size() && bytes_[at_] == '\r'; ++skipped) {
            if (at_ + 1 == bytes_.size()) {
                return std::nullopt;
            }
            if (bytes_[at_ + 1] != '\n') {
                return bad_byte(at_, "request line", control_problem('\r'));
            }
            at_ += 2;
        }

        result<bool> line = request_line();
        if (!line) {
            return fail(line);
        }
        if (!*line) {
            return std::nullopt;
        }

        field_line each;
        std::size_t lines = 0;
        while (true) {
            if (at_ < bytes_.size() && bytes_[at_] != '\r' && lines == limits_.max_fields) {
                return refuse_head(
                    code::header_too_large,
                    "more than " + std::to_string(limits_.max_fields) +
                        " header fields; send fewer (the policy's `limits.header_fields` raises that)"
                );
            }
            switch (scan_line(bytes_, at_, each)) {
            case field_line::is::more:
                return std::nullopt;
            case field_line::is::bad:
                return bad_byte(each.next, "header fields", each.why);
            case field_line::is::blank:
                at_ = each.next;
                return judged();
            case field_line::is::field:
                break;
            }
            ++lines;
            at_ = each.next;
            if (each.underscore) {
                if (sensitive_twin(each.found.name)) {
                    return bad_field(each.found.name, "is ambiguous: write the name with `-` instead of `_`");
                }
                continue; // dropped: see the declaration of `fields`
            }
            out_.fields.push_back(each.found);
            result<void> noted = note(each.found);
            if (!noted) {
                return fail(noted);
            }
        }
    }

private:
    // true: complete, at_ is behind it; false: more bytes are needed.
    result<bool> request_line()
    {
        const std::size_t begin = at_;
        while (at_ < bytes_.size() && (bytes::class_of(bytes_[at_]) & bytes::token) != 0 &&
               at_ - begin <= longest_method) {
            ++at_;
        }
        if (at_ - begin > longest_method) {
            return refuse_head(code::unknown_method, "unknown method: it is longer than any");
        }
        if (at_ == bytes_.size()) {
            return false;
        }
        if (bytes_[at_] != ' ' || at_ == begin) {
            if (at_ == begin && bytes_[at_] == '\x16') {
                return refuse_head(
                    code::bad_framing,
                    "bad request: this port speaks plain HTTP, and the client began a TLS handshake; use "
                    "http://"
                );
            }
            return bad_byte(at_, "request line", "no method followed by one space");
        }
        out_.verb_text = bytes_.substr(begin, at_ - begin);
        out_.verb = known_method(out_.verb_text);
        if (out_.verb == method::other) {
            return refused_method();
        }

        ++at_;
        const std::size_t target = at_;
        while (at_ < bytes_.size() && (bytes::class_of(bytes_[at_]) & bytes::visible) != 0 &&
               at_ - target <= limits_.max_target) {
            ++at_;
        }
        if (at_ - target > limits_.max_target) {
            return refuse_head(
                code::target_too_long,
                "the request target is longer than " + std::to_string(limits_.max_target) +
                    " bytes; send the data in a body (the policy's `limits.target_bytes` raises that)"
            );
        }
        if (at_ == bytes_.size()) {
            return false;
        }
        if (at_ == target || bytes_[at_] != ' ') {
            const bool ended = bytes_[at_] == '\r' || bytes_[at_] == '\n';
            return bad_byte(
                at_,
                "request line",
                ended ? "no version (HTTP/0.9 is not spoken)"
                      : "a byte that no request target may hold; percent-encode it"
            );
        }
        out_.target = bytes_.substr(target, at_ - target);
        ++at_;
        return version();
    }

    std::unexpected<failure> refused_method()
    {
        if (out_.verb_text == "PRI") {
            return refuse_head(code::bad_version, "HTTP/2 is not spoken here; use HTTP/1.1");
        }
        if (out_.verb_text == "TRACE" || out_.verb_text == "CONNECT") {
            return refuse_head(
                code::method_not_allowed,
                std::string{out_.verb_text}.append(" is not allowed; allowed are ").append(allowed_methods)
            );
        }
        return refuse_head(
            code::unknown_method,
            std::string{"unknown method "}
                .append(out_.verb_text)
                .append("; known are ")
                .append(allowed_methods)
        );
    }

    // `HTTP/1.0` or `HTTP/1.1` and the end of the line.
    result<bool> version()
    {
        constexpr std::string_view wanted = "HTTP/1.?\r\n";
        for (const char c : wanted) {
            if (at_ == bytes_.size()) {
                return false;
            }
            const char found = bytes_[at_];
            const bool minor = c == '?' && (found == '0' || found == '1');
            if (minor) {
                out_.minor = found - '0';
            } else if (c == '?' || c != found) {
                if ((c == '1' || c == '?') && found >= '0' && found <= '9') {
                    return refuse_head(
                        code::bad_version, "this version of HTTP is not spoken here; use HTTP/1.1"
                    );
                }
                return bad_byte(at_, "request line", "no version of the form HTTP/1.1 and CR LF");
            }
            ++at_;
        }
        return true;
    }

    // A field of which a second one would leave open which counts.
    static result<void> only(std::string_view& slot, const field& found)
    {
        if (slot.data() != nullptr) {
            return bad_field(found.name, "appears twice; send it once");
        }
        slot = found.value;
        return {};
    }

    static result<void> first(std::string_view& slot, const field& found)
    {
        if (slot.data() == nullptr) {
            slot = found.value;
        }
        return {};
    }

    result<void> note(const field& found)
    {
        const auto is = [&found](std::string_view known) { return bytes::is_name(found.name, known); };
        switch (found.name.size()) {
        case 4:
            if (is("host")) {
                return host(found);
            }
            break;
        case 6:
            if (is("accept")) {
                return first(out_.accept, found);
            }
            if (is("expect")) {
                return expect(found.value);
            }
            if (is("origin")) {
                return only(out_.origin, found);
            }
            break;
        case 7:
            if (is("baggage")) {
                return first(out_.baggage, found);
            }
            break;
        case 9:
            if (is("x-api-key")) {
                return only(out_.x_api_key, found);
            }
            break;
        case 10:
            if (is("user-agent")) {
                return first(out_.user_agent, found);
            }
            if (is("connection")) {
                close_ = close_ || list_holds(found.value, "close");
                keep_ = keep_ || list_holds(found.value, "keep-alive");
                names_ = names_ || !(same_name(found.value, "close") || same_name(found.value, "keep-alive"));
                break;
            }
            if (is("tracestate")) {
                return first(out_.tracestate, found);
            }
            break;
        case 11:
            if (is("traceparent")) {
                return first(out_.traceparent, found);
            }
            break;
        case 12:
            if (is("content-type")) {
                return only(out_.content_type, found);
            }
            if (is("x-request-id")) {
                return first(out_.request_id, found);
            }
            break;
        case 13:
            if (is("authorization")) {
                return only(out_.authorization, found);
            }
            break;
        case 14:
            if (is("content-length")) {
                return only(length_, found);
            }
            break;
        case 16:
            if (is("content-encoding")) {
                return content_encoding(found);
            }
            if (is("x-wait-for-model")) {
                return first(out_.wait_for_model, found);
            }
            break;
        case 17:
            if (is("transfer-encoding")) {
                ++codings_;
                coding_ = found.value;
                break;
            }
            if (is("anthropic-version")) {
                return first(out_.anthropic_version, found);
            }
            break;
        case 18:
            if (is("x-fourways-timeout")) {
                return only(out_.timeout, found);
            }
            break;
        default:
            break;
        }
        return {};
    }

    result<void> host(const field& found)
    {
        if (!valid_authority(found.value)) {
            return bad_field(found.name, "is no host name or address with an optional port");
        }
        return only(out_.host, found);
    }

    result<void> expect(std::string_view value)
    {
        if (!same_name(value, "100-continue")) {
            return refuse_head(
                code::expectation_failed, "Expect knows only 100-continue; leave the field out"
            );
        }
        out_.expect_continue = out_.minor == 1; // RFC 9110 section 10.1.1: ignored on HTTP/1.0
        return {};
    }

    result<void> content_encoding(const field& found)
    {
        if (!found.value.empty() && !same_name(found.value, "identity")) {
            return refuse_head(
                code::unsupported_coding,
                "compressed request bodies are not accepted; send it without Content-Encoding"
            );
        }
        return only(out_.content_encoding, found);
    }

    // RFC 9110 section 7.6.1: what Connection names is for this connection only. Of the fields that are
    // passed on, that is; those of framing, identity and content are ours to judge, whatever Connection says.
    void drop_named()
    {
        const std::pair<std::string_view, std::string_view request_head::*> passed_on[] = {
            {"x-request-id", &request_head::request_id},
            {"traceparent", &request_head::traceparent},
            {"tracestate", &request_head::tracestate},
            {"baggage", &request_head::baggage},
            {"anthropic-version", &request_head::anthropic_version},
            {"x-wait-for-model", &request_head::wait_for_model},
        };
        for (const field& each : out_.fields) {
            if (!same_name(each.name, "connection")) {
                continue;
            }
            for (const auto& [name, slot] : passed_on) {
                if (list_holds(each.value, name)) {
                    out_.*slot = {};
                }
            }
        }
    }

    result<std::optional<std::size_t>> judged()
    {
        if (names_) {
            drop_named();
        }
        if (codings_ != 0) {
            if (length_.data() != nullptr) {
                return bad_field(
                    "Transfer-Encoding", "and Content-Length exclude each other; send one of them"
                );
            }
            if (out_.minor == 0) {
                return bad_field("Transfer-Encoding", "does not exist in HTTP/1.0; send Content-Length");
            }
            if (codings_ != 1 || !same_name(coding_, "chunked")) {
                return bad_field("Transfer-Encoding", "may only be `chunked`, once", 501);
            }
            out_.body = framing::chunked;
        } else if (length_.data() != nullptr) {
            if (!parse_length(length_, out_.content_length)) {
                return bad_field("Content-Length", "is not one plain decimal number");
            }
            out_.body = framing::sized;
        }
        if (out_.host.data() == nullptr && out_.minor == 1) {
            return bad_field("Host", "is missing");
        }
        out_.keep_alive = !close_ && (out_.minor == 1 || keep_);
        return at_;
    }

    std::string_view bytes_;
    const head_limits& limits_;
    request_head& out_;
    std::size_t at_ = 0;
    std::string_view length_;
    std::string_view coding_;
    int codings_ = 0;
    bool close_ = false;
    bool keep_ = false;
    bool names_ = false; // Connection holds more than `close` or `keep-alive`
};

} // namespace

std::string_view to_string(method verb)
{
    switch (verb) {
    case method::get:
        return "GET";
    case method::head:
        return "HEAD";
    case method::post:
        return "POST";
    case method::put:
        return "PUT";
    case method::delete_:
        return "DELETE";
    case method::options:
        return "OPTIONS";
    case method::patch:
        return "PATCH";
    case method::other:
        break;
    }
    return "other";
}

result<std::optional<std::size_t>>
scan_request_head(std::string_view seen, const head_limits& limits, request_head& out)
{
    clear(out);
    // Bytes beyond the limit are never looked at, so that the verdict does not depend on how many have
    // arrived.
    result<std::optional<std::size_t>> scanned = scan{seen.substr(0, limits.max_bytes), limits, out}.run();
    if (scanned && !*scanned && seen.size() >= limits.max_bytes) {
        return refuse_head(
            code::header_too_large,
            "the request head is larger than " + std::to_string(limits.max_bytes) +
                " bytes; send less or shorter header fields (the policy's `limits.header_bytes` raises that)"
        );
    }
    return scanned;
}

} // namespace gw::wire
