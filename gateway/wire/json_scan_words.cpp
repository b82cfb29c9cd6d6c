// What the scanner says when it refuses.
#include "wire/json_scan.hpp"

#include "wire/bytes.hpp"

namespace gw::wire {

std::string json_scanner::expected() const
{
    switch (state_) {
    case state::value:
        return "a value";
    case state::value_or_end:
        return "a value or `]`";
    case state::key_or_end:
        return "a key in double quotes or `}`";
    case state::key:
        return "a key in double quotes";
    case state::colon:
        return "`:`";
    case state::comma_or_end:
        return levels_.back().object ? "`,` or `}`" : "`,` or `]`";
    case state::done:
        return "the end of the body";
    case state::literal:
        return "the rest of true, false or null";
    case state::number_minus:
    case state::number_dot:
    case state::number_sign:
        return "a digit";
    case state::number_e:
        return "a digit, `+` or `-`";
    case state::number_zero:
    case state::number_int:
    case state::number_frac:
    case state::number_exp:
        return levels_.empty() ? "the end of the body" : levels_.back().object ? "`,` or `}`" : "`,` or `]`";
    case state::string:
    case state::utf8:
        return "the closing quote of a string";
    case state::escape:
        return "one of \"\\/bfnrtu behind `\\`";
    case state::hex:
        return "a hexadecimal digit";
    }
    return "a value";
}

bool json_scanner::invalid(std::uint64_t where, std::string_view problem)
{
    failure_ = failure{.what = code::invalid_json, .from = origin::client};
    failure_->text = "the body is not acceptable JSON at byte " + std::to_string(where) + ": ";
    failure_->text.append(problem);
    return false;
}

bool json_scanner::unexpected_byte(std::uint64_t where, char found)
{
    std::string problem = "expected " + expected() + ", found " + bytes::shown(found);
    if (where == 0 && found == '\xef') {
        problem += " (a byte order mark? JSON is sent without one)";
    }
    return invalid(where, problem);
}

bool json_scanner::too_large(
    std::uint64_t where, std::string_view what, std::uint64_t limit, std::string_view key
)
{
    failure_ = failure{.what = code::body_too_large, .from = origin::client};
    failure_->text.append(what).append(" of the body may have ").append(std::to_string(limit));
    failure_->text.append(" bytes; the limit is passed at byte ").append(std::to_string(where));
    if (!key.empty()) {
        failure_->text.append("; the policy's `").append(key).append("` raises it");
    }
    return false;
}

} // namespace gw::wire
