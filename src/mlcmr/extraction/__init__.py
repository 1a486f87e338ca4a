"""From files of video and photographs to frame features.

Importing the modules here needs PyAV and Pillow (`pip install 'mlcmr[video]'`); without them there is a
`UserError`.
"""
