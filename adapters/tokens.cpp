#include "adapters/tokens.hpp"

#include "wire/json_text.hpp"
#include "wire/json_walk.hpp"

namespace gw::adapters {
namespace {

using wire::member_of;

constexpr std::size_t longest_text = 1024 * 1024; // a longer one is not repeated whole

// TGI's word for why it ended.
std::string reason(std::string_view theirs)
{
    return theirs == R"("stop")" ? R"("eos_token")" : std::string(theirs);
}

} // namespace

std::string token_stream::event_of(std::string_view data)
{
    const auto choices = wire::elements_of(member_of(data, "choices"));
    if (!choices || choices->empty()) {
        return {};
    }
    const std::string_view choice = choices->front();
    const std::string_view index = member_of(choice, "index");
    const std::string_view text = member_of(choice, "text");
    if ((!index.empty() && index != "0") || text.size() < 2 || !text.starts_with('"')) {
        return {};
    }
    const std::string_view finish = member_of(choice, "finish_reason");
    const bool last = finish.size() > 2 && finish.starts_with('"'); // "" is none yet
    if (text.size() == 2 && !last) {
        return {};
    }

    tokens_ += text.size() > 2 ? 1 : 0;
    if (text_.size() < longest_text) {
        text_ += text.substr(1, text.size() - 2);
    }
    std::string event = R"(data: {"index":)" + std::to_string(tokens_);
    event += R"(,"token":{"id":0,"text":)";
    wire::append_json_line(event, text);
    event += R"(,"logprob":0.0,"special":)";
    event += text.size() == 2 ? "true}" : "false}";
    if (!last) {
        return event + R"(,"generated_text":null,"details":null})" + "\n\n";
    }
    event += R"(,"generated_text":)";
    if (text_.size() < longest_text) {
        event += '"';
        wire::append_json_line(event, text_);
        event += '"';
    } else {
        event += "null";
    }
    event += R"(,"details":{"finish_reason":)" + reason(finish) + R"(,"generated_tokens":)";
    const std::string_view counted = member_of(member_of(data, "usage"), "completion_tokens");
    event += counted.empty() ? std::to_string(tokens_) : std::string(counted);
    return event + R"(,"seed":null}})" + "\n\n";
}

} // namespace gw::adapters
