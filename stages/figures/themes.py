"""What the report says in words: of each wing, and of each data set. ``N…`` are the lecture notes' items."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Theme:
    """What a wing of the report is called, and says; ``item`` is the number of the notes' item that it stands under."""

    title: str
    text: str
    item: int | None = None


TICKETS = Theme(
    "The ticket desk",
    "A feed-forward network has no memory of what came before, so it cannot tell the Taipei of “arrive Taipei” from "
    "the Taipei of “leave Taipei” (N1). A recurrent network stores its hidden layer (Elman) or its output (Jordan) "
    "from word to word (N2, N5); an LSTM guards that memory with gates (N8).",
    1,
)
KEY_TERMS = Theme(
    "Key terms",
    "Key terms are found as slots are filled: each word of a sentence is labelled as a part of a term, or as none.",
    21,
)
SLOTS = Theme(
    "Slot filling",
    "Each word of a sentence gets its slot (N1, N22). A recurrent network uses the same weights at every step (N4) and "
    "stores its hidden layer (Elman) or its output (Jordan) from word to word (N2, N5); an LSTM guards that memory "
    "with gates (N8), which may look at the memory through peepholes (N11); its first form had no forget gate (N19). A "
    "GRU couples the gates, so that the old goes as the new comes in (N13). Layers may be stacked (N6, N12), and a "
    "bidirectional network sees the whole sentence before it labels any word (N7).",
    22,
)
SENTIMENT = Theme(
    "Sentiment analysis",
    "Many to one: a network reads a text word by word or character by character and then says one class for all of it "
    "(N20). What it must remember until then is where simple recurrent networks (N2), LSTMs (N8) and GRUs (N13) "
    "differ; pooling by attention takes a weighted mean over all steps instead of the last one. The peer, a logistic "
    "regression on n-grams, has no notion of order beyond an n-gram.",
    20,
)
TURING = Theme(
    "Heads over a memory",
    "The five tasks with which Graves et al. (2014) tried the Neural Turing Machine (N28), beside an LSTM that must "
    "hold all it has seen in its cells (N8). Each is trained on short sequences and then asked for longer ones: what "
    "was learnt as a procedure goes on working, what was learnt by heart does not.",
    28,
)
READING = Theme(
    "Reading comprehension",
    "A memory network keeps each sentence as a vector, and moves its reading head over them more than once before "
    "it answers a question (N29), where an LSTM reads text and question as one sequence.",
    29,
)
SPEECH = Theme(
    "Speech recognition",
    "The input has many more frames than the output has symbols, and nobody says which frames belong to which: "
    "connectionist temporal classification (CTC) adds a null symbol, “no label here”, and counts every alignment "
    "that collapses to the transcript as right (N23). A bidirectional network may hear the rest of the recording "
    "before it decides (N7); the plain LSTM (N8) may not.",
    23,
)
# By the first part of an experiment's key; wings stand in this order.
THEMES = {
    "tickets": TICKETS,
    "snippets": SENTIMENT,
    "reviews": SENTIMENT,
    "keyterms": KEY_TERMS,
    "slots": SLOTS,
    "commands": SLOTS,
    "speech": SPEECH,
    "mandarin": SPEECH,
    "translation": Theme(
        "Machine translation",
        "Neither side’s length is known from the other’s: an encoder reads the English message, and a decoder writes "
        "Chinese until it puts out a stop symbol (N24). The cells are gated recurrent units (N13), and attention lets "
        "each step of the decoder look back at the words it needs. A Transformer has attention alone, no recurrence. "
        "The peer translates nothing: a translation memory gives the translation of the nearest training message.",
        24,
    ),
    "pronunciation": Theme(
        "Pronunciation",
        "A word’s letters go in, its phones come out, and neither number tells the other: “box” has three letters and "
        "four phones, “though” six letters and two. So an encoder reads the letters, and a decoder writes phones until "
        "it puts out a stop symbol (N24). One phone wrong makes the word wrong.",
        24,
    ),
    "parsing": Theme(
        "Syntactic parsing",
        "A sentence goes in, its tree comes out, written as a sequence of brackets (N25). A plain decoder may write "
        "anything, so that it must learn to close what it opened and to read each word once; a constrained one chooses "
        "only among the symbols from which a tree can still be reached.",
        25,
    ),
    "text_autoencoder": Theme(
        "Text auto-encoder",
        "A text is pressed into one vector, and a decoder writes the text again from that vector alone (N26). A bag of "
        "words loses the order: it gives “dog bites man” and “man bites dog” the same vector, so nothing that reads it "
        "can tell them apart. If the decoder can rebuild the text, its vector holds the order too; a probe asks for it "
        "directly: which of two orders of the same words was it? The networks here start "
        "as a rotation: each step turns what is held and adds a word, and the decoder turns it back, the last word "
        "first; training goes on from there. In two levels, words become sentences and sentences a paragraph.",
        26,
    ),
    "speech_autoencoder": Theme(
        "Speech auto-encoder",
        "A stretch of sound of any length becomes a vector of fixed size; encoder and decoder are trained together, "
        "without any transcript, and two stretches are compared by their vectors, which is what spoken search needs "
        "(N27). A plain auto-encoder does not beat dynamic time warping (DTW), the classic way to compare two sounds "
        "frame by frame. A denoising one, and a correspondence one that must turn a word into another recording of the "
        "same word, are said to; words never heard in training show whether that holds for more than the words learnt.",
        27,
    ),
    "copy": TURING,
    "repeat_copy": TURING,
    "recall": TURING,
    "ngrams": TURING,
    "sort": TURING,
    "stories": READING,
    "babi": READING,
    "cloze": READING,
}
# By data set: what it is, what it tests, and how far its figures can be trusted.
DATASETS = {
    "cloze": "Sentences of Wikipedia with one linked term left out, to be told from the twenty sentences before (N29), "
    "among ten terms of those at most. Wikipedia links a term once in an article, so later mentions are found as equal "
    "words, in whatever case: some are no mention of what was linked. An article is in one split, so most names in the "
    "test data are new, and what stands around a name must tell. Only 8 articles are in the test data: their subjects "
    "weigh much. Many questions have no certain answer, as several terms would make a true sentence; how many people "
    "answer rightly was not measured.",
    "addresses": "Postal addresses of the United States, each word labelled by people with its part of the address. "
    "The same word may be a street, a town or a building, and the same number a house, a flat or a postcode: only the "
    "words around it tell (N1, N22). Every cell of the notes is tried here, in one direction and in two, with one "
    "layer and with more (N2 to N13, N19).",
    "tickets": "Sentences at a ticket desk, made by a small grammar to ask one question: does a network remember the "
    "word that decides (N1)? The contrast set has pairs of sentences that are equal but for that word, “arrive” in "
    "one and “leave” in the other, with up to six words between it and a city that training has never seen. So a "
    "network that sees one word at a time must give both cities the same slot, and is right on at most half of them; "
    "a memory is all that it lacks (N2, N5, N8). Nobody talks like this, and a simple rule would be right every time: "
    "the figures say whether a memory works, not how well people are understood.",
    "commands": "Commands to a smart home (N22). They are made from templates that people wrote, not said by anyone, "
    "and templates are easier than speech. No template is in two splits, and about a third of the slots in the test "
    "data have a value that training has not. Often only a later word tells the slot of an earlier one: in “ten "
    "minutes” and “ten percent” it is the unit. A network that reads forward only cannot know it yet, a bidirectional "
    "one can (N7).",
    "encyclopedia": "Sentences of Wikipedia articles; the key terms are the words that link to another article (N21). "
    "Wikipedia links a term at its first mention only and everyday terms not at all, and one sentence does not tell "
    "what came first: a term marked at a later mention counts as wrong. So precision looks worse than it is, and "
    "learning from such labels lowers recall too. The figures compare methods with each other; they do not say what "
    "share of a text’s key terms a method finds. The test data are all sentences with a link of a few articles that "
    "training has not seen.",
    "snippets": "Sentences of English film reviews, read word by word (N20). 15 to 29 people rated each from −4 to 4; "
    "the label is the sign of their mean, and sentences with a mean near zero are left out, which makes the task "
    "easier than it is. A further 13,400 sentences without labels, of other kinds of text for the most part, are "
    "there for an encoder to be trained on first.",
    "reviews": "Chinese reviews of books, computers and hotels, read character by character (N20). A line may be a "
    "part of a review and has the label of the whole, so that some say little or the opposite (“breakfast was good”, "
    "in a bad review); this bounds what any method can reach.",
    "digits": "Strings of one to seven spoken English digits, by six people: recordings of single digits, one after "
    "the other, and the voice may change from one to the next (N23). This is easier than digits said in one breath. No "
    "recording is in two splits, but the six people are the same in all.",
    "mandarin": "Short Mandarin phrases, recognised character by character (N23). They are synthetic: no person "
    "speaks, a formant synthesiser (eSpeak NG) says 203 everyday phrases in 63 of its voices, at several rates and "
    "pitches. Many phrases differ by a doubled character alone, such as 好棒 and 好棒棒; only with a null symbol "
    "between them can two equal characters be told from one long one. The voices of validation and test are not "
    "heard in training, but the phrases are the same, and a synthesiser says a syllable in much the same way each "
    "time. So the figures compare methods, and tell whether doubled characters are heard; they say nothing about how "
    "well people would be understood. Frames also say how high the voice is. That tones need this was seen in an "
    "earlier run’s errors on the voices of test, so these are no longer quite unseen; how it is done was chosen on "
    "voices of training that were left out. The best network trains for 24 epochs, the others for 6: it shows how far "
    "one gets, and is no fair rival to them.",
    "messages": "Short English messages of programs, and the Chinese that the programs’ translators wrote for them "
    "(N24); an auto-encoder reads the English alone (N26). Messages that are nearly the same lie in one split, but "
    "many still have words and turns in common with one of training: how much, the similarity says. A message "
    "has one reference, where several translations may be good. Programs repeat themselves, so the figures say little "
    "about other texts.",
    "paragraphs": "Two to four consecutive sentences of a product review or a newspaper editorial (N26). All of a "
    "review or editorial lies in one split. Few sentences are short, so each is cut after its tenth word: what goes in "
    "and has to come out is the cut text, and up to 40 words have to pass through one vector.",
    "spoken_words": "Recordings of single English digits by six people. A method says of any two how alike they are: "
    "is the same word said in both (N27)? The networks are trained on recordings of 0 to 5. The columns of unseen "
    "words are of 6 to 9, which they have never heard, and which had no part in choosing a setting. The correspondence "
    "auto-encoder is told which recordings of 0 to 5 are of the same word; the others are told nothing. The archive "
    "does not say who speaks: the six voices are the same in training and test, so the figures say nothing about "
    "voices never heard. Dynamic time warping compares two recordings frame by frame and has no vectors, so a "
    "search by it takes far longer.",
    "cmudict": "English words and their pronunciations in American English, from the dictionary of Carnegie Mellon "
    "University (N24): 39 phones, without stress. A word of several pronunciations counts as right with any of them, "
    "and the nearest one is compared. Many are names, whose spelling says less than a common word’s. Inflected forms "
    "are words of their own, so that a test word’s stem may well stand in the training data. The networks here are "
    "trained on 40,000 words, so that all fits in an hour. For comparison, an encoder-decoder of LSTMs has 7.63 % of "
    "the phones and 28.61 % of the words wrong in Yao and Zweig (2015), of another split and trained on all words that "
    "are not for test, more than twice as many.",
    "repeat_copy": "Up to ten random vectors of eight bits, and the number of times, up to ten, that they are to be "
    "put out, followed by an end mark (N28; Graves et al. 2014, section 4.2). What is asked is a loop: to begin again "
    "at the first vector, and to count. Test goes on to 20 repeats, and to 20 vectors.",
    "recall": "Two to six items of three vectors of six random bits; then one item is shown again, and the one that "
    "followed it is wanted (N28; section 4.3). So an item has to be found by what it holds, and the head has to move "
    "on from there. Test goes on to 15 items. An answer has 18 bits, the cost of a network that has learnt nothing.",
    "ngrams": "Sequences of 200 bits, in which the last five bits decide the chance of the next one, by a table drawn "
    "anew for each sequence (N28; section 4.4): a network can but count, within one sequence, what followed which "
    "five bits. No estimate can do better in the mean than that of Bayes, the line to reach; a coin costs 195 bits.",
    "sort": "Twenty random vectors of eight bits, each with a priority; the 16 of the highest priorities are wanted, "
    "sorted (N28; section 4.5). Test goes on to 30 vectors. An answer has 128 bits.",
    "treebank": "Turkish sentences of the web and of Wikipedia, with dependency trees drawn by people (N25). Each "
    "bracket holds a token with all that hangs on it, and is labelled with its relation to the token above. Turkish "
    "words are cut at derivations, and the parts hang on each other by a relation that is easy to guess. Sentences "
    "have at most 20 tokens; the few trees that no nested brackets can hold are left out, and are likely the harder "
    "ones. A test token in four never stands in the training data. The peers know no syntax: they hang every word on "
    "its neighbour.",
    "copy": "Vectors of eight random bits have to be put out again in their order, after the last has come (N28). "
    "Training asks for 1 to 20 of them, the test for up to 120. There is no regularity to learn but the procedure, so "
    "a network that copies 120 has found one.",
    "stories": "Stories from a small simulated world, in the manner of the bAbI tasks, each with a question whose "
    "answer rests on some of its sentences (N29). They are made by a grammar and a solver checks the answers; nobody "
    "talks like this, so the figures say what kinds of inference a network can learn, not how well it reads.",
}


def prefix_of(key: str) -> str:
    """Give the key of ``THEMES`` that an experiment's ``key`` begins with, the longest, or else its first part."""
    found = [prefix for prefix in THEMES if key.startswith(f"{prefix}_") or key == prefix]
    return max(found, key=len, default=key.split("_")[0])
