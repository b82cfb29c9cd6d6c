// A streamed completion of OpenAI's API in the words of TGI's own stream, which are those of Hugging Face's
// clients: a token an event, the last with the whole text and why it ends.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace gw::adapters {

class token_stream
{
public:
    // The event, with its blank line, for the data of one of the server's; empty: it says nothing that a
    // token could (usage, another choice than the first). Never throws for any data.
    [[nodiscard]] std::string event_of(std::string_view data);

private:
    std::string text_; // so far, as it stands between quotes
    std::size_t tokens_ = 0;
};

} // namespace gw::adapters
