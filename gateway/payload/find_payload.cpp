#include "payload/find_payload.hpp"

#include "payload/base64.hpp"
#include "payload/base64_kernel.hpp"
#include "payload/media_type.hpp"
#include "wire/json_text.hpp"

#include <simdjson.h>

#include <algorithm>
#include <array>
#include <string>
#include <utility>
#include <vector>

namespace gw::payloads {
namespace {

using namespace std::string_view_literals;

// The text around long strings that is looked at; members beyond it are not what any client sends.
constexpr std::uint64_t largest_gaps = 1024 * 1024;

// A string of the body that may be the payload.
struct candidate
{
    std::string name;                            // for messages: `inputs.image`
    byte_range where;                            // between the quotes
    byte_range member;                           // the top-level value that holds it
    std::string_view raw;                        // short strings: the text between the quotes
    const wire::json_long_string* big = nullptr; // long ones
    std::string declared;                        // the client's media type, canonical; "" when it said none
    bool native = false;                         // inputs.base64: nothing else than base64 may stand here
};

// The text of an object with its long strings left empty, and where its pieces stand in the body.
struct object_text
{
    struct gap
    {
        std::size_t at = 0;     // in `text`
        std::uint64_t from = 0; // in the body
    };
    std::string text;
    std::vector<gap> gaps;

    [[nodiscard]] std::uint64_t in_body(std::size_t at) const
    {
        auto last = std::ranges::upper_bound(gaps, at, {}, &gap::at);
        --last; // the first gap is at 0
        return last->from + (at - last->at);
    }
};

const member_text* find_text(std::span<const member_text> members, std::string_view name)
{
    const auto found = std::ranges::find(members, name, &member_text::name);
    return found != members.end() ? &*found : nullptr;
}

// nullopt when some of it is not in memory.
std::optional<object_text> read_object(
    const wire::json_index& index,
    const wire::json_member& member,
    std::span<const member_text> members,
    const peek_fn& peek
)
{
    object_text made;
    if (!member.holds_long) {
        const auto* known = find_text(members, member.key);
        const std::string_view text = known != nullptr && !known->text.empty() ? known->text
                                      : peek                                   ? peek(member.where)
                                                                               : ""sv;
        if (text.empty() || text.size() != member.where.size()) {
            return std::nullopt;
        }
        made.text = text;
        made.gaps.push_back({.at = 0, .from = member.where.begin});
        return made;
    }
    if (!peek) {
        return std::nullopt;
    }
    std::uint64_t here = member.where.begin;
    const auto take = [&](std::uint64_t end) {
        const byte_range range{here, end};
        if (made.text.size() + range.size() > largest_gaps) {
            return false;
        }
        const std::string_view text = peek(range);
        made.gaps.push_back({.at = made.text.size(), .from = here});
        made.text.append(text);
        return text.size() == range.size();
    };
    for (const auto& each : index.longs) {
        if (each.where.begin < member.where.begin || each.where.end > member.where.end) {
            continue;
        }
        if (!take(each.where.begin)) {
            return std::nullopt;
        }
        here = each.where.end;
    }
    return take(member.where.end) ? std::optional(std::move(made)) : std::nullopt;
}

// A short string that is a direct member of an object.
struct short_string
{
    std::string key;
    std::size_t at = 0; // of its first byte behind the quote, in object_text::text
    std::string raw;    // between the quotes
};

// The direct string members of an object among `keys`; the last one of each name, as most parsers have it.
std::vector<short_string> read_strings(const object_text& object, std::span<const std::string_view> keys)
{
    std::vector<short_string> found;
    const simdjson::padded_string padded{std::string_view(object.text)};
    simdjson::ondemand::parser parser;
    simdjson::ondemand::document document;
    simdjson::ondemand::object fields;
    if (parser.iterate(padded).get(document) != simdjson::SUCCESS ||
        document.get_object().get(fields) != simdjson::SUCCESS) {
        return found;
    }
    for (auto each : fields) {
        simdjson::ondemand::field field;
        std::string_view key;
        simdjson::ondemand::json_type type{};
        if (std::move(each).get(field) != simdjson::SUCCESS) {
            return found;
        }
        if (field.unescaped_key().get(key) != simdjson::SUCCESS || // half of a surrogate pair: none of ours
            std::ranges::find(keys, key) == keys.end() ||
            field.value().type().get(type) != simdjson::SUCCESS ||
            type != simdjson::ondemand::json_type::string) {
            continue;
        }
        std::string_view token = field.value().raw_json_token();
        const auto last = token.rfind('"'); // blanks may follow
        if (token.empty() || last == std::string_view::npos || last == 0) {
            continue;
        }
        token = token.substr(1, last - 1);
        std::erase_if(found, [&](const short_string& earlier) { return earlier.key == key; });
        found.push_back({
            .key = std::string(key),
            .at = static_cast<std::size_t>(token.data() - padded.data()),
            .raw = std::string(token),
        });
    }
    return found;
}

const wire::json_long_string* find_long(const wire::json_index& index, std::string_view path)
{
    const auto found =
        std::ranges::find(index.longs.rbegin(), index.longs.rend(), path, &wire::json_long_string::path);
    return found != index.longs.rend() ? &*found : nullptr;
}

// The names under which clients put a payload into an object, the most telling first.
std::vector<std::string_view> payload_keys(const task_info* task)
{
    std::vector<std::string_view> keys{"base64"};
    const auto add = [&](std::string_view key) {
        if (!key.empty() && std::ranges::find(keys, key) == keys.end()) {
            keys.push_back(key);
        }
    };
    const modality wanted = task != nullptr ? task->input : modality::any;
    if (task != nullptr) {
        add(task->payload_key);
    }
    if (wanted == modality::image || wanted == modality::any) {
        add("image");
    }
    if (wanted == modality::audio || wanted == modality::any) {
        add("audio");
    }
    if (wanted == modality::video || wanted == modality::any) {
        add("video");
    }
    return keys;
}

// ---- what stands in the string ----

bool starts_with_any_case(std::string_view text, std::string_view lower_prefix)
{
    return text.size() >= lower_prefix.size() &&
           std::ranges::equal(text.substr(0, lower_prefix.size()), lower_prefix, [](char left, char right) {
               return (left >= 'A' && left <= 'Z' ? static_cast<char>(left - 'A' + 'a') : left) == right;
           });
}

bool is_web_address(std::string_view text)
{
    return starts_with_any_case(text, "http://") || starts_with_any_case(text, "https://");
}

// Of a data: URL, with its comma. Long strings show their first 256 bytes only, and what stands behind the
// prefix has to be sniffed there too, so that long and short ones are told alike.
constexpr std::size_t longest_prefix = 100;

// RFC 2397.
struct data_url
{
    std::size_t length = 0; // up to and with the comma; 0: there is no such prefix
    bool base64 = false;
    std::string_view media_type;
};

data_url parse_data_url(std::string_view text)
{
    if (!starts_with_any_case(text, "data:")) {
        return {};
    }
    const auto comma = text.substr(0, longest_prefix).find(',');
    if (comma == std::string_view::npos) {
        return {};
    }
    auto head = text.substr(5, comma - 5);
    // Lengths are counted in characters, so only plain ones are taken for a prefix.
    if (!std::ranges::all_of(head, [](char each) { return each >= ' ' && each <= '~'; })) {
        return {};
    }
    data_url made{.length = comma + 1};
    constexpr auto mark = ";base64"sv;
    if (head.size() >= mark.size() && starts_with_any_case(head.substr(head.size() - mark.size()), mark)) {
        made.base64 = true;
        head.remove_suffix(mark.size());
    }
    made.media_type = head;
    return made;
}

// How many bytes of `raw` the first `characters` (ASCII ones) take, escapes included.
std::size_t raw_length(std::string_view raw, std::size_t characters)
{
    std::size_t at = 0;
    for (; characters > 0 && at < raw.size(); --characters) {
        if (raw[at] != '\\') {
            at += 1;
        } else {
            at += at + 1 < raw.size() && raw[at + 1] == 'u' ? 6 : 2;
        }
    }
    return std::min(at, raw.size());
}

std::string article(modality wanted)
{
    return std::string(wanted == modality::image || wanted == modality::audio ? "an " : "a ") +
           std::string(to_string(wanted)) +
           (wanted == modality::audio || wanted == modality::video ? " file" : "");
}

std::unexpected<failure> wrong_modality(const candidate& from, const task_info& task)
{
    return refuse(
        code::wrong_modality,
        "`" + from.name + "` is a text, but " + std::string(task.name) + " takes " + article(task.input) +
            ": send its bytes as the body, or as base64 text in `" + from.name + "`, or its http(s) URL"
    );
}

std::unexpected<failure> invalid(const candidate& from, std::string_view problem)
{
    return refuse(code::invalid_base64, "`" + from.name + "`: " + std::string(problem));
}

// True for text that means to be base64: its first characters are of one of the alphabets, or line breaks.
bool means_base64(std::string_view text)
{
    return std::ranges::all_of(text.substr(0, 16), [](char each) {
        return base64_value(each) != 0xff || "-_=\r\n"sv.contains(each);
    });
}

struct judge
{
    const candidate& from;
    const task_info* task;

    [[nodiscard]] modality wanted() const { return task != nullptr ? task->input : modality::any; }
    // Nothing but base64 may stand here.
    [[nodiscard]] bool certain() const { return from.native || is_binary(wanted()); }

    [[nodiscard]] result<std::optional<payload>> operator()() const
    {
        return from.big != nullptr ? long_string() : short_string_of();
    }

    [[nodiscard]] result<std::optional<payload>> short_string_of() const
    {
        const auto text = wire::unescape_json_string(from.raw);
        if (!text) {
            return invalid(from, "not a JSON string");
        }
        if (!from.native && is_web_address(*text)) {
            return std::nullopt;
        }
        const data_url url = parse_data_url(*text);
        if (url.length != 0 && !url.base64) {
            return not_base64_url();
        }
        const std::string_view rest = std::string_view(*text).substr(url.length);
        const auto decoded = decode_base64(rest);
        if (!decoded) {
            if (!certain() && url.length == 0) {
                return std::nullopt;
            }
            if (!from.native && url.length == 0 && !means_base64(rest)) {
                return wrong_modality(from, *task);
            }
            return invalid(from, decoded.error().text);
        }
        payload made = described(url, *decoded);
        if (!certain() && url.length == 0 && made.media_type.empty()) {
            return std::nullopt;
        }
        const std::size_t skipped = raw_length(from.raw, url.length);
        made.where.begin += skipped;
        made.escaped = from.raw.substr(skipped).contains('\\');
        made.size = decoded->size();
        return made;
    }

    [[nodiscard]] result<std::optional<payload>> long_string() const
    {
        const std::string_view head = from.big->head;
        if (!from.native && is_web_address(head)) {
            return std::nullopt;
        }
        const data_url url = parse_data_url(head);
        if (url.length != 0 && !url.base64) {
            return not_base64_url();
        }

        // Its first characters are at hand, the others are judged while they are decoded.
        const std::string_view rest = head.substr(url.length);
        const std::string_view whole_groups = rest.substr(0, rest.size() / 4 * 4);
        const auto first = decode_base64(whole_groups);
        const std::uint64_t characters = from.where.size() - from.big->escapes_removed - url.length;
        std::string problem;
        if (!first) {
            problem = first.error().text;
        } else if (from.big->not_base64) {
            problem = "invalid base64 at byte " + std::to_string(*from.big->not_base64) +
                      " of the body: a character that is not of the standard alphabet (A-Z a-z 0-9 + /), or "
                      "padding "
                      "('=') before the end; send it without line breaks";
        } else if (characters % 4 != 0) {
            problem = "invalid base64: its length " + std::to_string(characters) +
                      " is no multiple of four: the text was cut, or its padding ('=') is missing";
        } else if (from.big->padding > 2) {
            problem = "invalid base64: more than two characters of padding";
        }
        if (!problem.empty()) {
            if (!certain() && url.length == 0) {
                return std::nullopt;
            }
            if (!from.native && url.length == 0 && !means_base64(rest)) {
                return wrong_modality(from, *task);
            }
            return invalid(from, problem);
        }

        payload made = described(url, *first);
        if (!certain() && url.length == 0 && made.media_type.empty()) {
            return std::nullopt;
        }
        std::size_t skipped = url.length;
        made.escaped = from.big->escaped;
        if (made.escaped && skipped != 0) {
            skipped = raw_length(from.big->raw_head, url.length);
            made.escaped = skipped - url.length != from.big->escapes_removed;
        }
        made.where.begin += skipped;
        made.size = characters / 4 * 3 - from.big->padding;
        return made;
    }

    [[nodiscard]] payload described(const data_url& url, std::string_view first_bytes) const
    {
        payload made;
        made.as = payload::form::base64;
        made.where = from.where;
        made.member = from.member;
        made.media_type = canonical(url.media_type, wanted());
        if (made.media_type.empty()) {
            made.media_type = from.declared;
        }
        if (made.media_type.empty()) {
            made.media_type = sniff(first_bytes, wanted());
        }
        return made;
    }

    [[nodiscard]] result<std::optional<payload>> not_base64_url() const
    {
        if (!certain()) {
            return std::nullopt;
        }
        return invalid(from, "a data: URL whose data is not base64: write `data:image/png;base64,...`");
    }
};

// A top-level member that is a string.
std::optional<candidate> string_member(
    const wire::json_index& index,
    const wire::json_member& member,
    std::span<const member_text> members,
    const peek_fn& peek
)
{
    candidate made{
        .name = member.key,
        .where = {member.where.begin + 1, member.where.end - 1},
        .member = member.where,
    };
    if (member.holds_long) {
        made.big = find_long(index, "/" + member.key);
        return made.big != nullptr ? std::optional(std::move(made)) : std::nullopt;
    }
    const auto* known = find_text(members, member.key);
    const std::string_view text = known != nullptr && !known->text.empty() ? known->text
                                  : peek                                   ? peek(member.where)
                                                                           : ""sv;
    if (text.size() < 2 || text.size() != member.where.size()) {
        return std::nullopt;
    }
    made.raw = text.substr(1, text.size() - 2);
    return made;
}

} // namespace

result<std::optional<payload>> find_payload(
    const wire::json_index& index,
    std::span<const member_text> members,
    const task_info* task,
    const peek_fn& peek
)
{
    const modality wanted = task != nullptr ? task->input : modality::any;
    if (!is_binary(wanted) && wanted != modality::any) {
        return std::nullopt;
    }
    const auto keys = payload_keys(task);
    const auto* inputs = index.find("inputs");

    // `inputs` is the payload itself.
    if (inputs != nullptr && inputs->kind == wire::json_kind::string) {
        const auto from = string_member(index, *inputs, members, peek);
        return from ? judge{*from, task}() : std::nullopt;
    }

    // `inputs` holds it, beside other values.
    if (inputs != nullptr && inputs->kind == wire::json_kind::object) {
        auto wanted_keys = keys;
        wanted_keys.push_back("media_type");
        const auto object = read_object(index, *inputs, members, peek);
        const auto strings = object ? read_strings(*object, wanted_keys) : std::vector<short_string>{};
        const auto find_short = [&](std::string_view key) -> const short_string* {
            const auto found = std::ranges::find(strings, key, &short_string::key);
            return found != strings.end() ? &*found : nullptr;
        };
        for (const auto key : keys) {
            candidate from{
                .name = "inputs." + std::string(key),
                .member = inputs->where,
                .native = key == "base64",
            };
            from.big = find_long(index, "/inputs/" + std::string(key));
            const auto* small = find_short(key);
            if (small == nullptr && from.big == nullptr) {
                continue;
            }
            // Of a name that stands twice the last one counts, however long the two are. In the object's text
            // a long string is an empty one that stands at its end.
            const std::uint64_t at = small != nullptr ? object->in_body(small->at) : 0;
            if (from.big != nullptr && at <= from.big->where.end) {
                from.where = from.big->where;
            } else {
                from.big = nullptr;
                from.where = {at, at + small->raw.size()};
                from.raw = small->raw;
            }
            if (const auto* said = find_short("media_type")) {
                from.declared = canonical(wire::unescape_json_string(said->raw).value_or(""), wanted);
            }
            return judge{from, task}();
        }
        return std::nullopt;
    }

    // Older ways: the payload at the root of the body.
    if (inputs == nullptr || inputs->kind == wire::json_kind::null) {
        for (const auto key : keys) {
            const auto* member = index.find(key);
            if (member == nullptr || member->kind != wire::json_kind::string || key == "base64") {
                continue;
            }
            const auto from = string_member(index, *member, members, peek);
            return from ? judge{*from, task}() : std::nullopt;
        }
    }
    return std::nullopt;
}

} // namespace gw::payloads
