#include "adapters/exchange.hpp"

#include "adapters/canonical.hpp"
#include "adapters/output.hpp"
#include "adapters/tokens.hpp"
#include "adapters/words.hpp"
#include "payload/media_type.hpp"
#include "wire/find_key.hpp"
#include "wire/json_walk.hpp"

#include <simdjson.h>

#include <charconv>
#include <cstdint>
#include <utility>

namespace gw::adapters {
namespace {

namespace dom = simdjson::dom;

constexpr std::string_view json_type = "application/json";
constexpr std::size_t longest_usage = 4096; // the object's text

// The fields of a head that outlive it until the error's body has arrived.
struct kept_head
{
    int status = 0;
    std::string content_type;
    std::string content_encoding;
    std::string retry_after;
    std::string rate_limit;
    std::string error_code;
    std::string error_text;
    std::string provider;
    std::string compute_type;
};

kept_head keep(const wire::response_head& head)
{
    return {
        .status = head.status,
        .content_type = std::string(head.content_type),
        .content_encoding = std::string(head.content_encoding),
        .retry_after = std::string(head.retry_after),
        .rate_limit = std::string(head.ratelimit),
        .error_code = std::string(head.error_code),
        .error_text = std::string(head.error_message),
        .provider = std::string(head.x_inference_provider),
        .compute_type = std::string(head.compute_type),
    };
}

std::string declared_type(std::string_view content_type)
{
    content_type = content_type.substr(0, content_type.find(';'));
    while (content_type.ends_with(' ') || content_type.ends_with('\t')) {
        content_type.remove_suffix(1);
    }
    return content_type.empty() ? "application/octet-stream" : lower_case(content_type);
}

std::string_view trim(std::string_view text)
{
    const std::size_t first = text.find_first_not_of(" \t\r\n");
    return first == std::string_view::npos ? std::string_view{}
                                           : text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

std::optional<std::uint64_t> number_of(std::string_view text)
{
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return error == std::errc{} && end == text.data() + text.size() ? std::optional(value) : std::nullopt;
}

verdict unavailable(std::string text, int status = 0)
{
    return {
        .what = outcome::unavailable, .where = scope::model_task, .status = status, .text = std::move(text)
    };
}

bool says_something(dom::element value)
{
    switch (value.type()) {
    case dom::element_type::NULL_VALUE:
        return false;
    case dom::element_type::STRING:
        return !std::string_view(value.get_string().value_unsafe()).empty();
    case dom::element_type::ARRAY:
        return value.get_array().value_unsafe().size() > 0;
    default:
        return true;
    }
}

// One choice of a chat or completion chunk.
bool choice_has_content(dom::object choice)
{
    dom::element finish;
    if (choice.at_key("finish_reason").get(finish) == simdjson::SUCCESS && says_something(finish)) {
        return true;
    }
    dom::element text;
    if (choice.at_key("text").get(text) == simdjson::SUCCESS && says_something(text)) {
        return true;
    }
    dom::object delta;
    if (choice.at_key("delta").get_object().get(delta) != simdjson::SUCCESS) {
        return false;
    }
    for (const auto& [key, value] : delta) {
        if (key != "role" && says_something(value)) {
            return true;
        }
    }
    return false;
}

// A member of this name, quotes included, that is a text: a choice says why it is over, TGI's last token the
// whole text. (Inside a text the quotes would be escaped.) Nothing may be generated, but no reason is none.
bool has_text(std::string_view data, std::string_view key, bool may_be_empty)
{
    for (std::size_t at = wire::find_key(data, key); at != std::string_view::npos;
         at = wire::find_key(data, key, at)) {
        at = data.find_first_not_of(": ", at + key.size());
        if (at != std::string_view::npos && data[at] == '"' &&
            (may_be_empty || !data.substr(at).starts_with("\"\""))) {
            return true;
        }
    }
    return false;
}

// The whole number behind a key (given with its quotes) of an object's text.
std::optional<std::uint64_t> count_at(std::string_view object, std::string_view key)
{
    const std::size_t at = wire::find_key(object, key);
    const std::string_view rest =
        trim(at == std::string_view::npos ? std::string_view{} : object.substr(at + key.size()));
    if (!rest.starts_with(':')) {
        return std::nullopt;
    }
    const std::string_view value = trim(rest.substr(1));
    return number_of(value.substr(0, value.find_first_of(",} \t\r\n")));
}

void read_counts(std::string_view object, usage& into)
{
    for (const std::string_view key : {"\"prompt_tokens\"", "\"input_tokens\""}) {
        if (const auto count = count_at(object, key)) {
            into.input_tokens = count;
        }
    }
    for (const std::string_view key : {"\"completion_tokens\"", "\"output_tokens\""}) {
        if (const auto count = count_at(object, key)) {
            into.output_tokens = count;
        }
    }
}

class exchange final : public conversation
{
public:
    exchange(exchange_request what, answer_plan plan, const target& to)
        : request_(std::move(what)), plan_(std::move(plan)), to_(*to.to)
    {
    }

    action_type step(const event_type& what, time_point, wall_time wall) override
    {
        wall_ = wall;
        return std::visit([this](const auto& each) { return on(each); }, what);
    }

    const usage& used() const override { return used_; }
    const verdict& accepted() const override { return accepted_; }
    void look(std::string_view whole_answer) override { read_usage(whole_answer, used_); }

private:
    facts ask() const
    {
        return {
            .kind = to_.kind,
            .engine = to_.engine,
            .platform = to_.at.host.ends_with(".endpoints.huggingface.cloud"),
            .chat = plan_.chat,
            .stream = plan_.stream,
            .wanted = plan_.wanted,
            .wall = wall_,
        };
    }

    // The same with the head that was kept.
    facts ask_with_head() const
    {
        facts of = ask();
        of.status = head_.status;
        of.content_type = head_.content_type;
        of.content_encoding = head_.content_encoding;
        of.retry_after = head_.retry_after;
        of.rate_limit = head_.rate_limit;
        of.error_code = head_.error_code;
        of.error_text = head_.error_text;
        of.provider = head_.provider;
        of.compute_type = head_.compute_type;
        return of;
    }

    action_type on(const event::start&) { return action::send{std::move(request_)}; }

    action_type on(const event::head& head)
    {
        head_.status = head.is.status;
        if (!decided_by_head(head.is.status)) {
            head_ = keep(head.is);
            return action::read{.how = action::read::as::text};
        }
        facts of = ask();
        add_head(of, head.is);
        accepted_ = classify(of);
        if (accepted_.what != outcome::ok) {
            return action::fail{accepted_};
        }
        read_counts(head.is);
        return read_answer(head.is);
    }

    // An error, or a 2xx whose body is not what it should be.
    action_type on(const event::text& text)
    {
        facts of = ask_with_head();
        of.body = text.body;
        return action::fail{classify(of)};
    }

    action_type on(const event::whole& whole)
    {
        const bool bytes = plan_.wanted == expects::bytes;
        output found = find_output(whole, plan_.pointer, bytes);
        if (!found.problem.empty() && bytes) {
            if (auto wav = wav_of(whole.text)) {
                found = {.bytes = true, .media_type = "audio/wav"};
                found.body.pieces.push_back(piece::literal(std::move(*wav)));
            }
        }
        if (!found.problem.empty()) {
            return action::fail{unavailable(std::move(found.problem), head_.status)};
        }
        if (!whole.text.empty()) {
            read_usage(whole.text, used_);
        }
        if (plan_.task != nullptr && !bytes && !whole.text.empty()) {
            found.body = canonical(whole.text, found.body.pieces.front().from, *plan_.task);
        }
        return action::emit{
            {.kind = found.bytes ? answer_kind::bytes : answer_kind::json,
             .media_type = std::move(found.media_type),
             .length = found.body.length()},
            std::move(found.body)
        };
    }

    action_type on(const event::sse& what)
    {
        if (what.oversize) {
            content_ = true;
            return action::forward{};
        }
        const std::string_view data = trim(what.data);
        if (ended_ || data.empty()) {
            return action::drop{}; // an event without data breaks three of four SDKs
        }
        if (data == "[DONE]") {
            if (!content_) {
                return action::fail{unavailable("the upstream's stream ended without content", head_.status)};
            }
            ended_ = true;
            return action::forward{};
        }
        if (is_error_event(what.name, data)) {
            return action::fail{error_in_stream(data)};
        }
        if (wire::has_key(data, "\"usage\"")) {
            read_usage(data, used_);
        }
        finished_ = finished_ || (plan_.tokens ? has_text(data, R"("generated_text")", true)
                                               : has_text(data, R"("finish_reason")", false));
        content_ = content_ || has_content(data);
        if (plan_.as_tokens) {
            std::string event = tokens_.event_of(data);
            return event.empty() ? action_type{action::drop{}}
                                 : action_type{action::retell{std::move(event)}};
        }
        return action::forward{content_};
    }

    action_type on(const event::end&)
    {
        if (events_ && !content_) {
            return action::fail{unavailable("the upstream's stream ended without content", head_.status)};
        }
        if (events_ && (plan_.chat || plan_.tokens) && !ended_ &&
            !finished_) { // a proxy on the way may have hidden a cut
            verdict why = unavailable("the upstream's stream stopped before its end", head_.status);
            why.what = outcome::broken_stream;
            why.where = scope::upstream;
            return action::fail{std::move(why)};
        }
        return action::done{};
    }

    action_type on(const event::elapsed&)
    {
        return action::fail{unavailable("nothing was waited for", head_.status)};
    }

    verdict error_in_stream(std::string_view data)
    {
        facts of = ask_with_head();
        of.body = data;
        of.first_event = true;
        verdict why = classify(of);
        if (content_) {
            why.what = outcome::broken_stream;
            why.where = scope::upstream;
            why.retry_after.reset();
            why.permanent = false;
        }
        return why;
    }

    // How a good answer is read.
    action_type read_answer(const wire::response_head& head)
    {
        const std::optional<std::uint64_t> length =
            head.body == wire::framing::sized ? std::optional(head.content_length) : std::nullopt;
        const bool json = payloads::is_json(head.content_type);

        if (is_event_stream(head.content_type)) {
            events_ = true;
            head_ = keep(head); // an event may still carry an error
            return action::read{
                action::read::as::events, {answer_kind::events, "text/event-stream", std::nullopt}
            };
        }
        const bool untyped_json = head.content_type.empty() && plan_.wanted == expects::json;
        const bool takes_out = plan_.pointer && !plan_.pointer->empty();
        if (json ? takes_out || plan_.wanted == expects::bytes || in_other_form(length) : untyped_json) {
            return action::read{.how = action::read::as::whole, .held = needs_text()};
        }
        if (json) {
            return action::read{
                action::read::as::raw, {answer_kind::json, std::string(json_type), length, plan_.as_asked}
            };
        }
        if (plan_.must_be_json && !(plan_.wanted == expects::bytes && is_media(head.content_type))) {
            return action::read{.how = action::read::as::whole, .held = needs_text()};
        }
        return action::read{
            action::read::as::raw, {answer_kind::bytes, declared_type(head.content_type), length}
        };
    }

    // Pictures in JSON are found by their ranges; numbers that are samples of sound are not.
    bool needs_text() const
    {
        return plan_.task != nullptr &&
               (plan_.wanted != expects::bytes || plan_.task->output == modality::audio);
    }

    // Vectors of many tokens are long, and long ones come as lists: they go on as they arrive.
    bool in_other_form(std::optional<std::uint64_t> length) const
    {
        constexpr std::uint64_t long_vectors = 1024 * 1024;
        if (plan_.task == nullptr || plan_.translated || !has_forms(*plan_.task)) {
            return plan_.translated;
        }
        return plan_.task->shape != answer_shape::numbers || (length && *length <= long_vectors);
    }

    // TGI and TEI count in headers.
    void read_counts(const wire::response_head& head)
    {
        for (const std::string_view name : {"x-prompt-tokens", "x-compute-tokens"}) {
            if (const auto count = number_of(wire::find_field(head.fields, name))) {
                used_.input_tokens = count;
            }
        }
        if (const auto count = number_of(wire::find_field(head.fields, "x-generated-tokens"))) {
            used_.output_tokens = count;
        }
    }

    exchange_request request_;
    answer_plan plan_;
    const config::upstream& to_;
    wall_time wall_;
    kept_head head_;
    verdict accepted_;
    usage used_;
    token_stream tokens_;
    bool events_ = false;   // the answer is an event stream
    bool content_ = false;  // of which content was passed on
    bool finished_ = false; // and which told why it finished,
    bool ended_ = false;    // or said [DONE]
};

} // namespace

bool has_content(std::string_view data)
{
    dom::parser parser;
    dom::object root;
    const simdjson::padded_string padded(data);
    if (parser.parse(padded).get_object().get(root) != simdjson::SUCCESS) {
        return true; // no dialect that is known: what came is what there is
    }
    dom::array choices;
    if (root.at_key("choices").get_array().get(choices) == simdjson::SUCCESS) {
        for (const dom::element each : choices) {
            dom::object choice;
            if (each.get_object().get(choice) == simdjson::SUCCESS && choice_has_content(choice)) {
                return true;
            }
        }
        return false;
    }
    std::string_view type;
    if (root.at_key("type").get_string().get(type) == simdjson::SUCCESS) {
        return type != "message_start" && type != "ping";
    }
    return true;
}

void read_usage(std::string_view json, usage& into)
{
    static constexpr std::string_view name = "\"usage\"";
    for (std::size_t at = json.size(); at-- > 0;) { // from the end, near which it stands
        if (json[at] != '"' || !json.substr(at).starts_with(name)) {
            continue;
        }
        std::string_view told = trim(json.substr(at + name.size()));
        if (!told.starts_with(':')) {
            continue; // a text, no key
        }
        told = trim(told.substr(1)).substr(0, longest_usage);
        const auto object = told.starts_with('{') ? wire::find_value(told, "") : std::nullopt;
        if (object) {
            read_counts(told.substr(0, object->end), into);
            return;
        }
    }
}

std::unique_ptr<conversation> make_exchange(exchange_request what, answer_plan plan, const target& to)
{
    return std::make_unique<exchange>(std::move(what), std::move(plan), to);
}

} // namespace gw::adapters
