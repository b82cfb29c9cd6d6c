#include "dialects/answers.hpp"

#include "dialects/errors.hpp"
#include "wire/json_scan.hpp"
#include "wire/json_text.hpp"

#include <simdjson.h>

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace gw::dialects {
namespace {

using wire::json_kind;

// Some line readers refuse lines over 64 KiB (aiohttp's), so a long string goes out in pieces.
constexpr std::size_t piece_bytes = 16 * 1024;

// Each chunk repeats what all share, so an answer must not make many of them out of few bytes: one that would
// is told as a single event. 8,192 pieces are 128 MiB of text.
constexpr std::size_t most_chunks = 8192;
constexpr std::size_t longest_shared = 256; // an id, a model's name

// A JSON value as the upstream wrote it.
struct raw_value
{
    std::string key; // of an object's member
    json_kind kind = json_kind::null;
    std::string_view text;
};

// The members of an object; nullopt when the text is no object (or names a member twice).
std::optional<std::vector<raw_value>> members_of(std::string_view text)
{
    wire::json_scanner scanner;
    if (!scanner.feed(text)) {
        return std::nullopt;
    }
    auto index = scanner.finish();
    if (!index || index->root != json_kind::object) {
        return std::nullopt;
    }
    std::vector<raw_value> members;
    members.reserve(index->members.size());
    for (auto& each : index->members) {
        const std::string_view value = text.substr(each.where.begin, each.where.size());
        members.push_back({.key = std::move(each.key), .kind = each.kind, .text = value});
    }
    return members;
}

const raw_value* find(const std::vector<raw_value>& among, std::string_view key)
{
    for (const auto& each : among) {
        if (each.key == key) {
            return &each;
        }
    }
    return nullptr;
}

// The value of this name and kind, else an empty text.
std::string_view text_of(const std::vector<raw_value>& among, std::string_view key, json_kind kind)
{
    const auto* found = find(among, key);
    return found != nullptr && found->kind == kind ? found->text : std::string_view{};
}

std::string_view trimmed(std::string_view text)
{
    constexpr std::string_view blanks = " \t\r\n";
    const auto first = text.find_first_not_of(blanks);
    if (first == std::string_view::npos) {
        return {};
    }
    return text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

// The elements of an array; nullopt when the text is none.
std::optional<std::vector<std::string>> elements_of(std::string_view text)
{
    const simdjson::padded_string padded(text);
    simdjson::ondemand::parser parser;
    simdjson::ondemand::document document;
    simdjson::ondemand::array array;
    if (parser.iterate(padded).get(document) != simdjson::SUCCESS ||
        document.get_array().get(array) != simdjson::SUCCESS) {
        return std::nullopt;
    }
    std::vector<std::string> elements;
    for (auto each : array) {
        simdjson::ondemand::value value;
        std::string_view raw;
        if (std::move(each).get(value) != simdjson::SUCCESS ||
            simdjson::to_json_string(value).get(raw) != simdjson::SUCCESS) {
            return std::nullopt;
        }
        elements.emplace_back(trimmed(raw));
    }
    return elements;
}

bool is_surrogate_escape(std::string_view text, char low_hex_digit_from, char low_hex_digit_to)
{
    if (text.size() < 6 || text[0] != '\\' || text[1] != 'u' || (text[2] | 0x20) != 'd') {
        return false;
    }
    const char third = static_cast<char>(text[3] | 0x20); // digits keep their value, letters become small
    return third >= low_hex_digit_from && third <= low_hex_digit_to;
}

// How many bytes of the inside of a JSON string belong together: an escape (a surrogate pair whole) or a
// character.
std::size_t unit_size(std::string_view inside)
{
    const auto first = static_cast<unsigned char>(inside.front());
    std::size_t size = 1;
    if (first == '\\') {
        size = inside.size() > 1 && inside[1] == 'u' ? 6 : 2;
        const bool high = is_surrogate_escape(inside, '8', '9') || is_surrogate_escape(inside, 'a', 'b');
        if (high && inside.size() >= 12) {
            const std::string_view next = inside.substr(6);
            if (is_surrogate_escape(next, 'c', 'f')) {
                size = 12;
            }
        }
    } else if (first >= 0xF0) {
        size = 4;
    } else if (first >= 0xE0) {
        size = 3;
    } else if (first >= 0xC0) {
        size = 2;
    }
    return std::min(size, inside.size());
}

// Cuts the inside of a JSON string, never inside a character. At least one piece.
std::vector<std::string_view> pieces_of(std::string_view inside)
{
    std::vector<std::string_view> pieces;
    while (inside.size() > piece_bytes) {
        std::size_t end = 0;
        while (end < piece_bytes) {
            end += unit_size(inside.substr(end));
        }
        pieces.push_back(inside.substr(0, end));
        inside.remove_prefix(end);
    }
    if (!inside.empty() || pieces.empty()) {
        pieces.push_back(inside);
    }
    return pieces;
}

std::string_view inside_quotes(std::string_view json_string)
{
    return json_string.substr(1, json_string.size() - 2);
}

// Writes chat.completion.chunk events that share an id, a time and a model.
class chunk_writer
{
public:
    chunk_writer(const request& asked, const std::vector<raw_value>& answer) : with_usage_(wants_usage(asked))
    {
        head_ = R"({"id":)";
        const std::string_view id = shared_text(answer, "id", json_kind::string);
        if (id.empty()) {
            wire::append_json_string(head_, "chatcmpl-" + asked.request_id);
        } else {
            wire::append_json_line(head_, id);
        }
        head_ += R"(,"object":"chat.completion.chunk","created":)";
        const std::string_view created = shared_text(answer, "created", json_kind::number);
        head_ += created.empty() ? std::string_view{"0"} : created;
        head_ += R"(,"model":)";
        const std::string_view model = shared_text(answer, "model", json_kind::string);
        if (model.empty()) {
            wire::append_json_string(head_, asked.model);
        } else {
            wire::append_json_line(head_, model);
        }
        for (const std::string_view also : {"system_fingerprint", "service_tier"}) {
            if (const auto* found = find(answer, also);
                found != nullptr && found->text.size() <= longest_shared) {
                head_ += ",\"";
                head_ += also;
                head_ += "\":";
                wire::append_json_line(head_, found->text);
            }
        }
        head_ += R"(,"choices":[)";
        if (with_usage_) {
            usage_ = text_of(answer, "usage", json_kind::object);
        }
    }

    // One chunk of a choice. `delta` is one line of JSON; logprobs and finish reason are raw JSON, empty:
    // null.
    void
    chunk(std::string_view index, std::string_view delta, std::string_view logprobs, std::string_view finish)
    {
        if (++chunks_ > most_chunks) {
            return;
        }
        out_ += "data: ";
        out_ += head_;
        out_ += R"({"index":)";
        out_ += index;
        out_ += R"(,"delta":)";
        out_ += delta;
        out_ += R"(,"logprobs":)";
        wire::append_json_line(out_, logprobs.empty() ? "null" : logprobs);
        out_ += R"(,"finish_reason":)";
        wire::append_json_line(out_, finish.empty() ? "null" : finish);
        out_ += with_usage_ ? R"(}],"usage":null})" : "}]}";
        out_ += "\n\n";
    }

    // More chunks than may be made: what was written is not the whole.
    [[nodiscard]] bool overran() const { return chunks_ > most_chunks; }

    // The usage chunk, if there is something to tell, and the end.
    std::string finish()
    {
        if (!usage_.empty()) {
            out_ += "data: ";
            out_ += head_;
            out_ += R"(],"usage":)";
            wire::append_json_line(out_, usage_);
            out_ += "}\n\n";
        }
        out_ += "data: [DONE]\n\n";
        return std::move(out_);
    }

private:
    static std::string_view
    shared_text(const std::vector<raw_value>& among, std::string_view key, json_kind kind)
    {
        const std::string_view text = text_of(among, key, kind);
        return text.size() <= longest_shared ? text : std::string_view{};
    }

    bool with_usage_;
    std::size_t chunks_ = 0;
    std::string head_; // up to and with `"choices":[`
    std::string_view usage_;
    std::string out_;
};

// `{"<key>":<value>}` in one line.
std::string delta_of(std::string_view key, std::string_view value)
{
    std::string delta = "{";
    wire::append_json_string(delta, key);
    delta += ':';
    wire::append_json_line(delta, value);
    delta += '}';
    return delta;
}

std::string quoted(std::string_view inside)
{
    std::string text = "\"";
    text += inside;
    text += '"';
    return text;
}

// A message's tool calls as deltas: clients put them together by their `index`, which a whole message does
// not have.
std::vector<std::string> tool_call_deltas(std::string_view tool_calls)
{
    std::vector<std::string> deltas;
    if (tool_calls.empty()) {
        return deltas;
    }
    const auto calls = elements_of(tool_calls);
    if (!calls || calls->size() > most_chunks) {
        deltas.push_back(delta_of("tool_calls", tool_calls));
        return deltas;
    }
    for (std::size_t i = 0; i < calls->size(); ++i) {
        const auto members = members_of((*calls)[i]);
        std::string call = "[";
        if (members && find(*members, "index") == nullptr) {
            call += R"({"index":)" + std::to_string(i);
            if (!members->empty()) {
                call += ',';
            }
            call += (*calls)[i].substr(1);
        } else {
            call += (*calls)[i];
        }
        call += ']';
        deltas.push_back(delta_of("tool_calls", call));
    }
    return deltas;
}

// One choice of a chat.completion. False: it has no message.
bool write_choice(chunk_writer& to, std::string_view choice, std::size_t position)
{
    const auto members = members_of(choice);
    if (!members) {
        return false;
    }
    const auto message = members_of(text_of(*members, "message", json_kind::object));
    if (!message) {
        return false;
    }

    const std::string position_text = std::to_string(position);
    std::string_view index = text_of(*members, "index", json_kind::number);
    if (index.empty() || index.size() > longest_shared) {
        index = position_text;
    }
    std::string_view logprobs = text_of(*members, "logprobs", json_kind::object);

    // First the role, alone.
    std::string_view role = text_of(*message, "role", json_kind::string);
    if (role.empty()) {
        role = R"("assistant")";
    }
    std::string first = R"({"role":)";
    wire::append_json_line(first, role);
    first += R"(,"content":""})";
    to.chunk(index, first, {}, {});

    // Then what was said: what comes before the content (reasoning, refusal), the content, the calls.
    const auto write_member = [&](const raw_value& member) {
        if (member.kind != json_kind::string) {
            to.chunk(index, delta_of(member.key, member.text), {}, {});
            return;
        }
        const std::string_view inside = inside_quotes(member.text);
        if (inside.empty()) {
            return;
        }
        for (const std::string_view piece : pieces_of(inside)) {
            // The log probabilities belong to the content; clients append them, so all go with its first
            // piece.
            const bool carries = member.key == "content";
            to.chunk(index, delta_of(member.key, quoted(piece)), carries ? logprobs : std::string_view{}, {});
            if (carries) {
                logprobs = {};
            }
        }
    };
    for (const auto& member : *message) {
        const bool own_place = member.key == "role" || member.key == "content" || member.key == "tool_calls";
        if (!own_place && member.kind != json_kind::null) {
            write_member(member);
        }
    }
    if (const auto* content = find(*message, "content");
        content != nullptr && content->kind != json_kind::null) {
        write_member(*content);
    }
    for (const auto& delta : tool_call_deltas(text_of(*message, "tool_calls", json_kind::array))) {
        to.chunk(index, delta, {}, {});
    }

    // Last the reason to stop.
    std::string_view finish = text_of(*members, "finish_reason", json_kind::string);
    if (finish.empty()) {
        finish = R"("stop")";
    }
    to.chunk(index, "{}", logprobs, finish);
    return true;
}

// nullopt: this is no chat.completion.
std::optional<std::string> chat_events(const request& asked, const std::vector<raw_value>& answer)
{
    const auto choices = elements_of(text_of(answer, "choices", json_kind::array));
    if (!choices || choices->empty()) {
        return std::nullopt;
    }
    chunk_writer writer(asked, answer);
    for (std::size_t i = 0; i < choices->size(); ++i) {
        if (!write_choice(writer, (*choices)[i], i) || writer.overran()) {
            return std::nullopt;
        }
    }
    return writer.finish();
}

// TGI's stream of tokens, told as few long ones. nullopt: this is no generated text.
std::optional<std::string> token_events(const std::vector<raw_value>& answer)
{
    const std::string_view generated = text_of(answer, "generated_text", json_kind::string);
    if (generated.empty()) {
        return std::nullopt;
    }
    const auto* details = find(answer, "details");
    const auto pieces = pieces_of(inside_quotes(generated));
    std::string out;
    for (std::size_t i = 0; i < pieces.size(); ++i) {
        const bool last = i + 1 == pieces.size();
        out += R"(data: {"index":)" + std::to_string(i + 1);
        out += R"(,"token":{"id":0,"text":)";
        wire::append_json_line(out, quoted(pieces[i]));
        out += R"(,"logprob":0.0,"special":false},"generated_text":)";
        wire::append_json_line(out, last ? generated : "null");
        out += R"(,"details":)";
        wire::append_json_line(out, last && details != nullptr ? details->text : "null");
        out += "}\n\n";
    }
    out += "data: [DONE]\n\n";
    return out;
}

std::optional<std::string> generated_events(std::string_view json, json_kind root)
{
    if (root == json_kind::array) {
        const auto elements = elements_of(json);
        if (!elements || elements->size() != 1) {
            return std::nullopt;
        }
        const auto only = members_of(elements->front());
        return only ? token_events(*only) : std::nullopt;
    }
    const auto members = members_of(json);
    return members ? token_events(*members) : std::nullopt;
}

bool asks_usage(std::string_view stream_options)
{
    const auto options = members_of(stream_options);
    return options && !text_of(*options, "include_usage", json_kind::true_).empty();
}

} // namespace

std::optional<std::string> events_of(const request& asked, std::string_view json)
{
    wire::json_scanner scanner;
    if (!scanner.feed(json)) {
        return std::nullopt;
    }
    const auto index = scanner.finish();
    if (!index) {
        return std::nullopt;
    }
    if (index->root == json_kind::object) {
        const auto members = members_of(json);
        if (auto chunks = members ? chat_events(asked, *members) : std::nullopt) {
            return chunks;
        }
    }
    if (auto tokens = generated_events(json, index->root)) {
        return tokens;
    }
    std::string line;
    wire::append_json_line(line, trimmed(json));
    return one_event(line) + one_event("[DONE]");
}

bool wants_usage(const request& asked)
{
    if (const auto* options = find_member(asked, "stream_options");
        options != nullptr && asks_usage(options->text)) {
        return true;
    }
    const auto parameters = members_of(asked.parameters);
    return parameters && asks_usage(text_of(*parameters, "stream_options", json_kind::object));
}

} // namespace gw::dialects
