#include "wire/retry.hpp"

#include "wire/bytes.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace gw::wire {
namespace {

using std::chrono::days;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::array<std::string_view, 7> short_days = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
constexpr std::array<std::string_view, 7> long_days = {
    "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"
};
constexpr std::array<std::string_view, 12> months = {
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"
};

bool is_digit(char c)
{
    return (bytes::class_of(c) & bytes::digit) != 0;
}

// Reads a fixed form from left to right; once something is missing, everything after it is too.
class reader
{
public:
    explicit reader(std::string_view text) : rest_(text) {}

    void literal(std::string_view wanted)
    {
        if (!rest_.starts_with(wanted)) {
            ok_ = false;
            return;
        }
        rest_.remove_prefix(wanted.size());
    }

    template <std::size_t n>
    unsigned one_of(const std::array<std::string_view, n>& names)
    {
        for (unsigned i = 0; i < n; ++i) {
            if (rest_.starts_with(names[i])) {
                rest_.remove_prefix(names[i].size());
                return i;
            }
        }
        ok_ = false;
        return 0;
    }

    unsigned number(std::size_t size)
    {
        unsigned value = 0;
        for (std::size_t i = 0; i < size; ++i) {
            if (rest_.empty() || !is_digit(rest_.front())) {
                ok_ = false;
                return 0;
            }
            value = value * 10 + static_cast<unsigned>(rest_.front() - '0');
            rest_.remove_prefix(1);
        }
        return value;
    }

    // asctime pads the day with a space.
    unsigned padded_day()
    {
        if (rest_.starts_with(' ')) {
            rest_.remove_prefix(1);
            return number(1);
        }
        return number(2);
    }

    [[nodiscard]] bool complete() const { return ok_ && rest_.empty(); }

private:
    std::string_view rest_;
    bool ok_ = true;
};

struct calendar
{
    unsigned year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0;
};

void clock_time(reader& from, calendar& out)
{
    out.hour = from.number(2);
    from.literal(":");
    out.minute = from.number(2);
    from.literal(":");
    out.second = from.number(2);
}

// The three forms of RFC 9110 section 5.6.7.
std::optional<calendar> parse_date(std::string_view text, std::chrono::system_clock::time_point now)
{
    { // Sun, 06 Nov 1994 08:49:37 GMT
        calendar out;
        reader from{text};
        from.one_of(short_days);
        from.literal(", ");
        out.day = from.number(2);
        from.literal(" ");
        out.month = from.one_of(months) + 1;
        from.literal(" ");
        out.year = from.number(4);
        from.literal(" ");
        clock_time(from, out);
        from.literal(" GMT");
        if (from.complete()) {
            return out;
        }
    }
    { // Sunday, 06-Nov-94 08:49:37 GMT
        calendar out;
        reader from{text};
        from.one_of(long_days);
        from.literal(", ");
        out.day = from.number(2);
        from.literal("-");
        out.month = from.one_of(months) + 1;
        from.literal("-");
        const unsigned two_digits = from.number(2);
        from.literal(" ");
        clock_time(from, out);
        from.literal(" GMT");
        if (from.complete()) {
            // More than 50 years ahead means the century before.
            const std::chrono::year_month_day today{std::chrono::floor<days>(now)};
            const int this_year = static_cast<int>(today.year());
            int year = this_year - this_year % 100 + static_cast<int>(two_digits);
            if (year > this_year + 50) {
                year -= 100;
            }
            out.year = static_cast<unsigned>(std::max(year, 0));
            return out;
        }
    }
    { // Sun Nov  6 08:49:37 1994
        calendar out;
        reader from{text};
        from.one_of(short_days);
        from.literal(" ");
        out.month = from.one_of(months) + 1;
        from.literal(" ");
        out.day = from.padded_day();
        from.literal(" ");
        clock_time(from, out);
        from.literal(" ");
        out.year = from.number(4);
        if (from.complete()) {
            return out;
        }
    }
    return std::nullopt;
}

// Milliseconds of `12` or `1.5`, capped. Digits beyond the third behind the point are dropped.
std::optional<milliseconds> parse_seconds(std::string_view text)
{
    constexpr std::uint64_t cap = static_cast<std::uint64_t>(milliseconds{longest_wait}.count());
    std::uint64_t value = 0; // milliseconds
    std::size_t at = 0;
    for (; at < text.size() && is_digit(text[at]); ++at) {
        value = std::min(cap, value * 10 + static_cast<std::uint64_t>(text[at] - '0') * 1000);
    }
    if (at == 0) {
        return std::nullopt;
    }
    if (at < text.size()) {
        if (text[at] != '.' || at + 1 == text.size()) {
            return std::nullopt;
        }
        std::uint64_t weight = 100;
        for (++at; at < text.size(); ++at) {
            if (!is_digit(text[at])) {
                return std::nullopt;
            }
            value += static_cast<std::uint64_t>(text[at] - '0') * weight;
            weight /= 10;
        }
    }
    return milliseconds{static_cast<std::int64_t>(std::min(cap, value))};
}

std::string_view trimmed(std::string_view text)
{
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) {
        text.remove_prefix(1);
    }
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) {
        text.remove_suffix(1);
    }
    return text;
}

// A whole decimal number, capped far below overflow.
std::optional<std::uint64_t> parse_count(std::string_view text)
{
    if (text.empty()) {
        return std::nullopt;
    }
    constexpr std::uint64_t cap = 1'000'000'000'000'000'000u;
    std::uint64_t value = 0;
    for (const char c : text) {
        if (!is_digit(c)) {
            return std::nullopt;
        }
        value = std::min(cap, value * 10 + static_cast<std::uint64_t>(c - '0'));
    }
    return value;
}

} // namespace

std::optional<milliseconds> retry_after(std::string_view value, std::chrono::system_clock::time_point now)
{
    value = trimmed(value);
    if (const auto wait = parse_seconds(value)) {
        return wait;
    }
    const std::optional<calendar> date = parse_date(value, now);
    if (!date) {
        return std::nullopt;
    }
    const std::chrono::year_month_day day{
        std::chrono::year{static_cast<int>(date->year)},
        std::chrono::month{date->month},
        std::chrono::day{date->day}
    };
    if (!day.ok() || date->hour > 23 || date->minute > 59 || date->second > 60) {
        return std::nullopt;
    }
    // In seconds, not in the clock's own nanoseconds: those end in the year 2262.
    const seconds when = std::chrono::sys_days{day}.time_since_epoch() + std::chrono::hours{date->hour} +
                         std::chrono::minutes{date->minute} + seconds{date->second};
    const milliseconds present = std::chrono::floor<milliseconds>(now.time_since_epoch());
    return std::clamp<milliseconds>(
        milliseconds{when} - present, milliseconds{0}, milliseconds{longest_wait}
    );
}

std::optional<rate_limit> parse_rate_limit(std::string_view value)
{
    rate_limit made;
    value = trimmed(value.substr(0, value.find(',')));

    // The name, quoted or not.
    std::string_view name = trimmed(value.substr(0, value.find(';')));
    value.remove_prefix(std::min(value.size(), value.find(';')));
    if (name.size() >= 2 && name.front() == '"' && name.back() == '"') {
        name = name.substr(1, name.size() - 2);
    }
    if (name.empty() || name.find('"') != std::string_view::npos ||
        name.find('=') != std::string_view::npos) {
        return std::nullopt;
    }
    made.bucket = name;

    // The parameters.
    std::optional<std::uint64_t> remaining;
    std::optional<std::uint64_t> reset;
    while (!value.empty()) {
        value.remove_prefix(1); // the `;`
        const std::string_view parameter = value.substr(0, value.find(';'));
        value.remove_prefix(parameter.size());
        const std::size_t equals = parameter.find('=');
        if (equals == std::string_view::npos) {
            continue;
        }
        const std::string_view key = trimmed(parameter.substr(0, equals));
        const std::string_view number = trimmed(parameter.substr(equals + 1));
        if (key == "r") {
            remaining = parse_count(number);
        } else if (key == "t") {
            reset = parse_count(number);
        }
    }
    if (!remaining || !reset) {
        return std::nullopt;
    }
    made.remaining = *remaining;
    const auto cap = static_cast<std::uint64_t>(seconds{longest_wait}.count());
    made.reset = seconds{static_cast<std::int64_t>(std::min(*reset, cap))};
    return made;
}

std::string http_date(std::chrono::system_clock::time_point when)
{
    const auto day = std::chrono::floor<days>(when);
    const std::chrono::year_month_day date{day};
    const std::chrono::hh_mm_ss clock{std::chrono::floor<seconds>(when - day)};
    std::string out;
    out.reserve(29);
    const auto digits = [&out](unsigned value, unsigned size) {
        for (unsigned weight = size == 4 ? 1000 : 10; weight != 0; weight /= 10) {
            out.push_back(static_cast<char>('0' + value / weight % 10));
        }
    };
    out.append(short_days[std::chrono::weekday{day}.c_encoding()]).append(", ");
    digits(static_cast<unsigned>(date.day()), 2);
    out.append(" ").append(months[static_cast<unsigned>(date.month()) - 1]).append(" ");
    digits(static_cast<unsigned>(static_cast<int>(date.year())), 4);
    out.append(" ");
    digits(static_cast<unsigned>(clock.hours().count()), 2);
    out.append(":");
    digits(static_cast<unsigned>(clock.minutes().count()), 2);
    out.append(":");
    digits(static_cast<unsigned>(clock.seconds().count()), 2);
    out.append(" GMT");
    return out;
}

} // namespace gw::wire
