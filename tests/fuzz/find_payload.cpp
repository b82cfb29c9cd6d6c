// A payload that is found lies inside its member and decodes to as many bytes as was said; a string that is
// too long to be parsed gives the same answer as a short one, but for what only decoding shows; the order of
// members does not matter.
#include "payload/find_payload.hpp"

#include "payload/base64.hpp"
#include "payload/tasks.hpp"
#include "payload/transcode.hpp"
#include "property.hpp"
#include "scanned.hpp"
#include "wire/json_text.hpp"

#include <algorithm>
#include <string>

using namespace gw;
using namespace gw::payloads;

namespace {

result<std::optional<payload>> find(const scanned& body, const task_info* task)
{
    return find_payload(body.index, body.members, task, [&](byte_range where) {
        require(where.begin <= where.end && where.end <= body.text.size(), "a look inside the body");
        return body.text.substr(where.begin, where.size());
    });
}

// The payload's bytes; nullopt: what only decoding shows is wrong with it.
std::optional<std::string> bytes_of(const scanned& body, const payload& found)
{
    const auto inside = [](byte_range outer, byte_range inner) {
        return outer.begin <= inner.begin && inner.begin <= inner.end && inner.end <= outer.end;
    };
    require(found.as == payload::form::base64, "base64 inside JSON");
    require(inside({0, body.text.size()}, found.member) && inside(found.member, found.where), "the spans");
    const std::string_view raw = body.text.substr(found.where.begin, found.where.size());
    require(body.text[found.where.end] == '"', "up to the closing quote");
    require(found.escaped == raw.contains('\\') || found.escaped, "escapes are known");
    const auto decoded = decode_base64(wire::unescape_json_string(raw).value_or("?"));
    const piece plan = piece::decode(found.where, found.escaped, found.size);
    transcoder worker(plan);
    std::string out;
    auto fed = worker.feed(raw, out);
    if (fed) {
        fed = worker.finish(out);
    }
    require(fed.has_value() == decoded.has_value(), "it is decoded as a whole string would be");
    require(!decoded || (*decoded == out && out.size() == found.size), "it has the size that was said");
    return decoded ? std::optional(out) : std::nullopt;
}

// Characters of base64, then padding, in groups of four: all but the bits that belong to no byte.
bool looks_whole(const scanned& body, const payload& found)
{
    const auto text =
        wire::unescape_json_string(body.text.substr(found.where.begin, found.where.size())).value_or("?");
    const std::size_t end = std::min(
        text.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"),
        text.size()
    );
    const std::string rest = text.substr(end);
    return text.size() % 4 == 0 && (rest.empty() || rest == "=" || rest == "==");
}

std::string backwards(const scanned& body)
{
    std::string out = "{";
    for (std::size_t i = body.index.members.size(); i > 0; --i) {
        const auto& each = body.index.members[i - 1];
        wire::append_json_string(out, each.key);
        out.append(":").append(body.text.substr(each.where.begin, each.where.size()));
        out += i > 1 ? "," : "";
    }
    return out + "}";
}

} // namespace

GW_FUZZ(input)
{
    const auto tasks = all_tasks();
    const std::size_t choice =
        input.empty() ? 0 : static_cast<unsigned char>(input.front()) % (tasks.size() + 1);
    const task_info* const task = choice == 0 ? nullptr : &tasks[choice - 1];
    input.remove_prefix(std::min<std::size_t>(input.size(), 1));

    const auto body = scan(input, 1 << 20);
    if (!body) {
        return;
    }
    const auto found = find(*body, task);
    if (found && *found) {
        require(bytes_of(*body, **found).has_value(), "a short payload was decoded before");
    }

    const auto long_body = scan(input, 24, held::in_parts);
    if (long_body) { // no key may be long
        const auto late = find(*long_body, task);
        const auto bytes = late && *late ? bytes_of(*long_body, **late) : std::nullopt;
        // A declared type that is long itself is not looked at: no type has that length outside of here.
        const bool declared = input.contains("media_type") || input.contains("\\u");
        if (found && *found && !declared) {
            const bool same =
                late && *late && (*late)->where == (*found)->where && (*late)->member == (*found)->member;
            require(same && (*late)->size == (*found)->size, "a long string is found alike");
            require((*late)->media_type == (*found)->media_type, "and is of the same type");
        } else if (late && *late && !(found && *found)) {
            require(!bytes, "only decoding shows what is wrong with it");
            require(looks_whole(*long_body, **late), "and that is its last character alone");
        }
    }

    if (body->index.root == wire::json_kind::object) {
        const std::string other = backwards(*body);
        const auto turned = scan(other, 1 << 20);
        require(turned.has_value(), "members in another order are JSON");
        const auto again = find(*turned, task);
        require(again.has_value() == found.has_value(), "the order of members does not matter");
        require(again || again.error().what == found.error().what, "nor for a refusal");
        if (found) {
            require(again->has_value() == found->has_value(), "nor for what is none");
        }
        if (found && *found) {
            require(bytes_of(*turned, **again) == bytes_of(*body, **found), "nor for the bytes");
            require((*again)->media_type == (*found)->media_type, "nor for the type");
        }
    }
}
