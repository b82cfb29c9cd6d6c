#include "wire/response_head.hpp"

#include "wire/bytes.hpp"
#include "wire/field_line.hpp"

#include <charconv>
#include <string>

namespace gw::wire {
namespace {

std::unexpected<failure> refuse_head(std::string problem)
{
    failure why{
        .what = code::unavailable, .from = origin::upstream, .text = "the upstream's answer is not valid HTTP"
    };
    why.detail = std::move(problem);
    return std::unexpected(std::move(why));
}

// A limit of ours: worth telling, since the policy can raise it.
std::unexpected<failure> too_much(const std::string& problem)
{
    auto made = refuse_head("upstream response: " + problem);
    made.error().text = "the upstream's answer has " + problem;
    return made;
}

std::unexpected<failure> bad_byte(std::size_t at, std::string_view where, std::string_view problem)
{
    std::string text{"upstream response: "};
    text.append(problem).append(" in the ").append(where).append(", byte ").append(std::to_string(at));
    return refuse_head(std::move(text));
}

void clear(response_head& out)
{
    std::vector<field> kept = std::move(out.fields);
    kept.clear();
    out = response_head{};
    out.fields = std::move(kept);
}

// `timeout=5, max=100` (RFC 2068 section 19.7.1.1): its first number.
std::optional<std::chrono::seconds> keep_time(std::string_view value)
{
    constexpr std::string_view name = "timeout=";
    const std::size_t at = value.find(name);
    std::uint32_t told = 0;
    if (at == std::string_view::npos) {
        return std::nullopt;
    }
    value.remove_prefix(at + name.size());
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), told);
    return error == std::errc{} ? std::optional(std::chrono::seconds(told)) : std::nullopt;
}

class scan
{
public:
    scan(std::string_view seen, const head_limits& limits, response_head& out, bool head_request)
        : bytes_(seen), limits_(limits), out_(out), head_request_(head_request)
    {
    }

    result<std::optional<std::size_t>> run()
    {
        result<bool> line = status_line();
        if (!line) {
            return fail(line);
        }
        if (!*line) {
            return std::nullopt;
        }

        field_line each;
        while (true) {
            if (at_ < bytes_.size() && bytes_[at_] != '\r' && out_.fields.size() == limits_.max_fields) {
                return too_much(
                    "more than " + std::to_string(limits_.max_fields) +
                    " header fields; the policy's `limits.response_header_fields` raises that"
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
            at_ = each.next;
            out_.fields.push_back(each.found);
            note(each.found);
        }
    }

private:
    // `HTTP/1.1 200`, then either the end of the line or a space and a reason, which may be empty.
    result<bool> status_line()
    {
        constexpr std::string_view wanted = "HTTP/1.? ###";
        for (const char c : wanted) {
            if (at_ == bytes_.size()) {
                return false;
            }
            const char found = bytes_[at_];
            if (c == '#' && found >= '0' && found <= '9') {
                out_.status = out_.status * 10 + (found - '0');
            } else if (c == '?' && (found == '0' || found == '1')) {
                out_.minor = found - '0';
            } else if (c == '#' || c == '?' || c != found) {
                return bad_byte(at_, "status line", "no `HTTP/1.x` and a status of three digits");
            }
            ++at_;
        }
        if (out_.status < 100 || out_.status > 599) {
            return refuse_head(
                "upstream response: status " + std::to_string(out_.status) + " does not exist"
            );
        }
        if (out_.status == 101) {
            return refuse_head("upstream response: 101 to a request that did not ask for another protocol");
        }
        if (at_ == bytes_.size()) {
            return false;
        }
        std::size_t reason = at_;
        if (bytes_[at_] == ' ') {
            reason = ++at_;
            const char* const end = bytes_.data() + bytes_.size();
            const char* stop = bytes::find_control(bytes_.data() + at_, end);
            while (stop != end && *stop == '\t') {
                stop = bytes::find_control(stop + 1, end);
            }
            at_ = static_cast<std::size_t>(stop - bytes_.data());
        }
        if (at_ == bytes_.size()) {
            return false;
        }
        out_.reason = bytes_.substr(reason, at_ - reason);
        if (bytes_[at_] == '\r' && at_ + 1 == bytes_.size()) {
            return false;
        }
        if (bytes_[at_] != '\r' || bytes_[at_ + 1] != '\n') {
            const bool control = static_cast<unsigned char>(bytes_[at_]) < 0x20 || bytes_[at_] == 0x7f;
            return bad_byte(
                at_, "status line", control ? control_problem(bytes_[at_]) : "no space behind the status"
            );
        }
        at_ += 2;
        return true;
    }

    static void first(std::string_view& slot, const field& found)
    {
        if (slot.data() == nullptr) {
            slot = found.value;
        }
    }

    void note(const field& found)
    {
        const auto take = [&found](std::string_view known, std::string_view& slot) {
            if (bytes::is_name(found.name, known)) {
                first(slot, found);
            }
        };
        switch (found.name.size()) {
        case 6:
            take("server", out_.server);
            break;
        case 8:
            take("location", out_.location);
            break;
        case 9:
            take("ratelimit", out_.ratelimit);
            break;
        case 10:
            if (bytes::is_name(found.name, "connection")) {
                close_ = close_ || list_holds(found.value, "close");
                keep_ = keep_ || list_holds(found.value, "keep-alive");
            } else if (bytes::is_name(found.name, "keep-alive")) {
                out_.keeps = keep_time(found.value);
            }
            break;
        case 11:
            take("retry-after", out_.retry_after);
            break;
        case 12:
            take("content-type", out_.content_type);
            take("x-request-id", out_.x_request_id);
            take("x-error-code", out_.error_code);
            break;
        case 14:
            take("x-compute-type", out_.compute_type);
            if (bytes::is_name(found.name, "content-length")) {
                ++lengths_;
                length_ = found.value;
            }
            break;
        case 15:
            take("x-error-message", out_.error_message);
            break;
        case 16:
            take("content-encoding", out_.content_encoding);
            break;
        case 17:
            if (bytes::is_name(found.name, "transfer-encoding")) {
                ++codings_;
                coding_ = found.value;
            }
            break;
        case 20:
            take("x-inference-provider", out_.x_inference_provider);
            break;
        default:
            break;
        }
    }

    // RFC 9112 section 6.3, without the choices that it leaves open.
    result<std::optional<std::size_t>> judged()
    {
        if (codings_ != 0 && lengths_ != 0) {
            return refuse_head("upstream response: both Transfer-Encoding and Content-Length");
        }
        if (lengths_ > 1) {
            return refuse_head("upstream response: Content-Length appears twice");
        }
        if (lengths_ == 1 && !parse_length(length_, out_.content_length)) {
            return refuse_head("upstream response: Content-Length is not one plain decimal number");
        }
        if (codings_ != 0 && (codings_ != 1 || out_.minor == 0 || !same_name(coding_, "chunked"))) {
            return refuse_head("upstream response: Transfer-Encoding is not exactly one `chunked` of HTTP/1.1"
            );
        }

        out_.keep_alive = !close_ && (out_.minor == 1 || keep_);
        if (out_.status < 200 || out_.status == 204 || out_.status == 304 || head_request_) {
            out_.body = framing::none;
            // A 1xx or 204 has no body; one that announces some may send it, so nothing may follow on this
            // connection.
            const bool announced = codings_ != 0 || out_.content_length != 0;
            if (announced && !head_request_ && out_.status != 304) {
                out_.keep_alive = false;
            }
        } else if (codings_ != 0) {
            out_.body = framing::chunked;
        } else if (lengths_ != 0) {
            out_.body = framing::sized;
        } else {
            out_.body = framing::until_close;
            out_.keep_alive = false;
        }
        return at_;
    }

    std::string_view bytes_;
    const head_limits& limits_;
    response_head& out_;
    bool head_request_;
    std::size_t at_ = 0;
    std::string_view length_;
    std::string_view coding_;
    int lengths_ = 0;
    int codings_ = 0;
    bool close_ = false;
    bool keep_ = false;
};

} // namespace

result<std::optional<std::size_t>>
scan_response_head(std::string_view seen, const head_limits& limits, response_head& out, bool head_request)
{
    clear(out);
    // Bytes beyond the limit are never looked at, so that the verdict does not depend on how many have
    // arrived.
    result<std::optional<std::size_t>> scanned =
        scan{seen.substr(0, limits.max_bytes), limits, out, head_request}.run();
    if (scanned && !*scanned && seen.size() >= limits.max_bytes) {
        return too_much(
            "a head larger than " + std::to_string(limits.max_bytes) +
            " bytes; the policy's `limits.response_header_bytes` raises that"
        );
    }
    return scanned;
}

} // namespace gw::wire
